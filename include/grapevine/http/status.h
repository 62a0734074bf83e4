/*
 * status.h - the reason phrase that stands behind a status code on the wire.
 */
#ifndef GV_HTTP_STATUS_H
#define GV_HTTP_STATUS_H

#include <stdint.h>

/** The reason phrase of a status: "Not Found". "Unknown" when not in RFC 9110. */
const char *gv_status_reason(uint16_t status);

#endif
