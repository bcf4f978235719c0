/* The light build offers a subset of the full one under the same names. */
declare module 'hls.js/light' {
    import Hls from 'hls.js';
    export default Hls;
}
