/*
 * endpoint.c - the paths that go to engines: one table for the proxy, metrics and logs.
 */
#include "grapevine/base/assert.h"
#include "grapevine/http/prompt.h"

static const struct {
    const char *path;
    enum gv_endpoint endpoint;
} paths[] = {
    {"/v1/chat/completions", GV_ENDPOINT_CHAT},
    {"/v1/completions", GV_ENDPOINT_COMPLETIONS},
    {"/generate", GV_ENDPOINT_GENERATE},
    {"/v1/embeddings", GV_ENDPOINT_EMBEDDINGS},
    {"/rerank", GV_ENDPOINT_RERANK},
    {"/v1/rerank", GV_ENDPOINT_RERANK},
    {"/v1/classify", GV_ENDPOINT_CLASSIFY},
};

const char *gv_endpoint_name(enum gv_endpoint endpoint)
{
    static const char *const names[] = {
        [GV_ENDPOINT_CHAT] = "chat",         [GV_ENDPOINT_COMPLETIONS] = "completions",
        [GV_ENDPOINT_GENERATE] = "generate", [GV_ENDPOINT_EMBEDDINGS] = "embeddings",
        [GV_ENDPOINT_RERANK] = "rerank",     [GV_ENDPOINT_CLASSIFY] = "classify",
    };
    _Static_assert(sizeof names / sizeof names[0] == GV_ENDPOINT_COUNT, "a name for each");
    GV_ASSERT(endpoint >= 0 && endpoint < GV_ENDPOINT_COUNT);
    return names[endpoint];
}

bool gv_endpoint_find(struct gv_slice path, enum gv_endpoint *endpoint)
{
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (gv_slice_is(path, paths[i].path)) {
            *endpoint = paths[i].endpoint;
            return true;
        }
    }
    return false;
}
