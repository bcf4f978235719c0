/* What a browser calls itself, as a person says it.  Pure. */

/* "Mozilla/5.0 (X11; Linux x86_64) ... Chrome/120.0 Safari/537" as "Chrome 120, Linux". */
export function browser_of(agent: string): string {
    const name = /(Firefox|Edg|OPR|Chrome|Version)\/(\d+)/.exec(agent.replace(/HeadlessChrome/, 'Chrome'));
    const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent);
    if (!name) {
        return agent.slice(0, 60);
    }
    const names: Record<string, string> = { Edg: 'Edge', OPR: 'Opera', Version: 'Safari' };
    return `${names[name[1]] ?? name[1]} ${name[2]}${system ? `, ${system[1]}` : ''}`;
}
