/*
 * certs.h - certificates for tests, made at run time with the openssl program.
 *
 * Files in the test's folder, made on first use:
 *
 *     ca.pem          whom the tests trust            other_ca.pem    whom nobody trusts
 *     server.pem/key  for localhost, 127.0.0.1, ::1   renewed.pem/key the same, made anew
 *     expired.pem/key until yesterday                 elsewhere.pem/key  for elsewhere.test
 *     client.pem/key  of a client                     stranger.pem/key   by other_ca, for localhost
 *     locked.key      server.key with a passphrase    garbage.pem     no certificate
 */
#ifndef GV_TESTS_SUPPORT_CERTS_H
#define GV_TESTS_SUPPORT_CERTS_H

#include <stdbool.h>

/** The path of one of the files above, valid until the program ends. Exits when openssl fails. */
const char *gv_cert(const char *name);

/** Put a copy of one file in the place of another path at once, as a renewal does (a rename). */
bool gv_cert_replace(const char *name, const char *path);

#endif
