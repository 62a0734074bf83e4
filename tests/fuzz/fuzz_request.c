/*
 * fuzz_request.c - requests of clients: the same messages come out however the bytes were cut.
 */
#include "parse_twice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse_twice(GV_PARSER_REQUEST, gv_slice_of(data, size));
    return 0;
}
