/*
 * main.c - the program: read the configuration, open the log, be a node.
 */
#include "node.h"

#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/gossip/engine.h"
#include "grapevine/net/loop.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

extern char **environ;

/* Somebody may have started us with standard files closed. Then a client's connection would get
 * their numbers, and the log would be written into it. */
static void hold_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", O_RDWR); /* the lowest that is free: this one */
        }
    }
}

int main(int argc, char **argv)
{
    struct gv_config config;
    gv_mem_stay_warm();
    hold_standard_files();
    (void)signal(SIGPIPE,
                 SIG_IGN); /* who reads our log may go at any time, from the first line on */
    switch (gv_config_load(argc, argv, environ, &config)) {
    case GV_CONFIG_RUN:
        break;
    case GV_CONFIG_DONE:
        return 0;
    case GV_CONFIG_BAD:
        return 2;
    }
    char name[GV_NODE_NAME_MAX];
    gv_node_name(&config, name, sizeof name);
    struct gv_log_options log = {
        .level = config.log_level, .json = config.log_json != 0, .fd = 2, .node = name};
    if (gv_log_open(log) != GV_OK) {
        (void)fprintf(stderr, "grapevine: no thread for the log\n");
        gv_config_deinit(&config);
        return 1;
    }
    uint64_t files = gv_raise_file_limit();
    gv_log(GV_LOG_INFO, "node.starting", GV_STR("version", GV_VERSION),
           GV_UINT("file_limit", files));
    int code = gv_node_run(&config);
    gv_log(code == 0 ? GV_LOG_INFO : GV_LOG_ERROR, "node.ended", GV_INT("code", code));
    gv_log_close();
    gv_config_deinit(&config);
    return code;
}
