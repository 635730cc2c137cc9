/* A libnvcuvid.so.1 with the entry points that GStreamer's nvcodec plugin resolves when it loads. It decodes nothing:
 * GStreamer 1.22 registers cudaupload and cudadownload only where libcuda and a video library load. */
enum { DONE = 0, NOT_SUPPORTED = 801 };
#define ANSWER(function, code) int function(void) { return code; }

ANSWER(cuvidCtxLock, DONE)
ANSWER(cuvidCtxUnlock, DONE)
ANSWER(cuvidCtxLockCreate, NOT_SUPPORTED)
ANSWER(cuvidCtxLockDestroy, NOT_SUPPORTED)
ANSWER(cuvidGetDecoderCaps, NOT_SUPPORTED)
ANSWER(cuvidCreateDecoder, NOT_SUPPORTED)
ANSWER(cuvidDestroyDecoder, NOT_SUPPORTED)
ANSWER(cuvidDecodePicture, NOT_SUPPORTED)
ANSWER(cuvidCreateVideoParser, NOT_SUPPORTED)
ANSWER(cuvidParseVideoData, NOT_SUPPORTED)
ANSWER(cuvidDestroyVideoParser, NOT_SUPPORTED)
ANSWER(cuvidMapVideoFrame, NOT_SUPPORTED)
ANSWER(cuvidMapVideoFrame64, NOT_SUPPORTED)
ANSWER(cuvidUnmapVideoFrame, NOT_SUPPORTED)
ANSWER(cuvidUnmapVideoFrame64, NOT_SUPPORTED)
ANSWER(cuvidCreateVideoSource, NOT_SUPPORTED)
