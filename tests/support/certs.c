#include "support/certs.h"

#include "support/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX  32
#define PATH_BYTES 512

static const char script[] =
    "set -e; cd '%s'; exec >certs.log 2>&1\n"
    "authority() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key\n"
    "  openssl req -x509 -new -key $1.key -subj \"/CN=$1\" -days 36500 -out $1.pem; }\n"
    "leaf() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; chmod 600 $1.key\n"
    "  openssl req -new -key $1.key -subj \"/CN=$1\" -out $1.csr\n"
    "  printf 'subjectAltName=%%s' \"$4\" >$1.ext\n"
    "  openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -set_serial 0x$(openssl rand -hex 8) "
    "-days $3 -extfile $1.ext -out $1.pem; }\n"
    "authority ca; authority other_ca\n"
    "here=DNS:localhost,IP:127.0.0.1,IP:::1\n"
    "leaf server ca 36500 $here; leaf renewed ca 36500 $here; leaf expired ca -1 $here\n"
    "leaf elsewhere ca 36500 DNS:elsewhere.test; leaf client ca 36500 DNS:client.test\n"
    "leaf stranger other_ca 36500 $here\n"
    "openssl ec -in server.key -aes128 -passout pass:secret -out locked.key\n"
    "echo 'nothing of the kind' >garbage.pem\n";

static void make(void)
{
    static bool made;
    if (made) {
        return;
    }
    char command[sizeof script + PATH_BYTES];
    (void)snprintf(command, sizeof command, script, gv_test_folder());
    if (system(command) != 0) {
        printf("certs: openssl failed; see %s/certs.log\n", gv_test_folder());
        exit(2);
    }
    made = true;
}

const char *gv_cert(const char *name)
{
    static char paths[NAMES_MAX][PATH_BYTES];
    make();
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", gv_test_folder(), name);
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (paths[i][0] == '\0') {
            memcpy(paths[i], path, sizeof path);
        }
        if (strcmp(paths[i], path) == 0) {
            return paths[i];
        }
    }
    printf("certs: too many names\n");
    exit(2);
}

bool gv_cert_replace(const char *name, const char *path)
{
    char command[3 * PATH_BYTES];
    (void)snprintf(command, sizeof command, "cp '%s' '%s.new' && mv -f '%s.new' '%s'",
                   gv_cert(name), path, path, path);
    return system(command) == 0;
}
