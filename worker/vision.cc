/* OpenCV behind a C face. */

#include "worker/vision.h"

#include <cmath>
#include <cstdio>
#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/objdetect.hpp>
#include <string>
#include <vector>

struct wk_net_s {
    cv::dnn::Net  net;
    cv::Mat       out;
};


namespace {

const int  kFaceMin = 40;               /* pixels; smaller ones are not found */
const int  kFaceWidth = 220;            /* a face is enlarged for its eyes */
const int  kDark = 60;                  /* mean below which contrast is spread */


void
told(char *error, size_t size, const char *what)
{
    snprintf(error, size, "%s", what);

    for (char *p = error; *p; p++) {
        if (*p == '\n' || *p == '\r') {
            *p = ' ';
        }
    }
}


cv::Mat
picture(const uint8_t *grey, int w, int h)
{
    return cv::Mat(h, w, CV_8UC1, const_cast<uint8_t *>(grey));
}


cv::CascadeClassifier &
cascade(cv::CascadeClassifier &c, const char *folder, const char *name)
{
    if (c.empty() && !c.load(std::string(folder) + "/" + name)) {
        throw std::runtime_error(std::string("cannot load ") + folder + "/"
                                 + name);
    }

    return c;
}

}


/* Without weights every one counts 1. */

static int
boxes(const std::vector<cv::Rect> &found, const std::vector<double> *weights,
    wk_box_t *box, int max)
{
    int  n = 0;

    for (size_t i = 0; i < found.size() && n < max; i++) {
        box[n].score = weights ? static_cast<float>((*weights)[i]) : 1;
        box[n].x = static_cast<float>(found[i].x);
        box[n].y = static_cast<float>(found[i].y);
        box[n].w = static_cast<float>(found[i].width);
        box[n].h = static_cast<float>(found[i].height);
        n++;
    }

    return n;
}


const char *
wk_vision_version(void)
{
    return CV_VERSION;
}


int
wk_vision_people(const uint8_t *grey, int w, int h, wk_box_t *box, int max,
    char *error, size_t size)
try
{
    static cv::HOGDescriptor  hog;
    static bool               ready;

    if (!ready) {
        cv::setNumThreads(1);
        hog.setSVMDetector(cv::HOGDescriptor::getDefaultPeopleDetector());
        ready = true;
    }

    std::vector<cv::Rect>  found;
    std::vector<double>    weights;

    if (w < 64 || h < 128) {
        return 0;
    }

    hog.detectMultiScale(picture(grey, w, h), found, weights, 0,
                         cv::Size(8, 8), cv::Size(16, 16), 1.05, 2);

    return boxes(found, &weights, box, max);

} catch (const std::exception &e) {
    told(error, size, e.what());
    return -1;
}


int
wk_vision_faces(const char *folder, const uint8_t *grey, int w, int h,
    wk_box_t *box, int max, char *error, size_t size)
try
{
    static cv::CascadeClassifier  faces;
    std::vector<cv::Rect>         found;
    cv::Mat                       even, in = picture(grey, w, h);

    cv::setNumThreads(1);

    if (cv::mean(in)[0] < kDark) {
        cv::equalizeHist(in, even);
        in = even;
    }

    cascade(faces, folder, "haarcascade_frontalface_alt2.xml")
        .detectMultiScale(in, found, 1.1, 4, 0, cv::Size(kFaceMin, kFaceMin));

    return boxes(found, nullptr, box, max);

} catch (const std::exception &e) {
    told(error, size, e.what());
    return -1;
}


int
wk_vision_eyes(const char *folder, const uint8_t *grey, int w, int h,
    const wk_box_t *face, char *error, size_t size)
try
{
    static cv::CascadeClassifier  eyes;
    std::vector<cv::Rect>         found;
    cv::Mat                       big;
    cv::Rect                      upper(static_cast<int>(face->x),
                                        static_cast<int>(face->y),
                                        static_cast<int>(face->w),
                                        static_cast<int>(face->h * 0.6F));

    upper &= cv::Rect(0, 0, w, h);

    if (upper.width < 20 || upper.height < 12) {
        return 0;
    }

    double  zoom = upper.width < kFaceWidth
                   ? static_cast<double>(kFaceWidth) / upper.width : 1;

    cv::resize(picture(grey, w, h)(upper), big, cv::Size(), zoom, zoom,
               cv::INTER_CUBIC);
    cascade(eyes, folder, "haarcascade_eye_tree_eyeglasses.xml")
        .detectMultiScale(big, found, 1.1, 3, 0, cv::Size(20, 20));

    return static_cast<int>(found.size());

} catch (const std::exception &e) {
    told(error, size, e.what());
    return -1;
}


wk_net_t *
wk_net_open(const char *file, char *error, size_t size)
try
{
    cv::setNumThreads(1);

    wk_net_t  *net = new wk_net_s;

    try {
        net->net = cv::dnn::readNetFromONNX(file);
        net->net.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);

    } catch (...) {
        delete net;
        throw;
    }

    return net;

} catch (const std::exception &e) {
    told(error, size, e.what());
    return NULL;
}


void
wk_net_close(wk_net_t *net)
{
    delete net;
}


bool
wk_net_run(wk_net_t *net, const uint8_t *bgr, int w, int h, bool rgb,
    double scale, const float **out, int dims[3], char *error, size_t size)
try
{
    cv::Mat  in(h, w, CV_8UC3, const_cast<uint8_t *>(bgr));

    net->net.setInput(cv::dnn::blobFromImage(in, scale, cv::Size(), {}, rgb));
    net->out = net->net.forward().clone();

    if (net->out.dims != 3 || net->out.type() != CV_32F) {
        snprintf(error, size, "the output has %d dimensions, not 3",
                 net->out.dims);
        return false;
    }

    for (int i = 0; i < 3; i++) {
        dims[i] = net->out.size[i];
    }

    *out = net->out.ptr<float>();

    return true;

} catch (const std::exception &e) {
    told(error, size, e.what());
    return false;
}
