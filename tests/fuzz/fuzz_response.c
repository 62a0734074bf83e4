/*
 * fuzz_response.c - responses of workers, who are trusted no more than clients.
 */
#include "parse_twice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse_twice(GV_PARSER_RESPONSE, gv_slice_of(data, size));
    return 0;
}
