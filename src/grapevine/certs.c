/*
 * certs.c - the certificates of a node: read at its start, and again when their files change.
 *
 * Renewed files are noticed within LOOK_MS, or at once with SIGHUP. Connections that stand keep
 * what they began with.
 */
#include "grapevine/base/log.h"
#include "grapevine/base/mem.h"
#include "grapevine/http/problem.h"
#include "inside.h"
#include <signal.h>
#include <string.h>

#define LOOK_MS             5000u
#define PLAIN_ANSWER_MAX    4096u
#define ADMIN_HANDSHAKES    64u /* at a time; the admin port has 256 connections at most */
#define ADMIN_HANDSHAKE_MS  10000u
#define WORKER_HANDSHAKE_MS 0u /* the time to connect covers it */

static void look_at_all(struct gv_node *node, bool forced)
{
    struct gv_tls *all[3] = {node->client_tls, node->admin_tls, node->worker_tls};
    for (size_t i = 0; i < 3; i++) {
        if (all[i] != NULL) {
            gv_tls_reload(all[i], forced);
        }
    }
}

static void on_look(void *owner)
{
    look_at_all(owner, false);
}

static void on_hangup(void *owner, int signum)
{
    gv_log(GV_LOG_INFO, "node.reload", GV_INT("signal", signum));
    look_at_all(owner, true);
}

static enum gv_err open_one(const struct gv_tls_options *options, struct gv_tls **tls)
{
    char trouble[GV_TLS_TROUBLE_BYTES] = "";
    enum gv_err err = gv_tls_open(options, tls, trouble);
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "tls.unusable", GV_STR("of", options->name), GV_STR("why", trouble),
               GV_ERR(err));
    }
    return err;
}

static enum gv_err write_plain_answer(struct gv_node *node)
{
    gv_buf_init(&node->plain_answer, GV_MEM_GENERAL, PLAIN_ANSWER_MAX);
    enum gv_err err =
        gv_problem_response(GV_PROBLEM_NEEDS_TLS, NULL, NULL, true, &node->plain_answer);
    return err == GV_OK ? gv_buf_append(&node->plain_answer, gv_slice_of("", 1)) : err;
}

static enum gv_tls_proof proof_of(const struct gv_config_list *authorities, const char *how)
{
    if (authorities->count == 0) {
        return GV_TLS_PROOF_NONE;
    }
    return strcmp(how, "optional") == 0 ? GV_TLS_PROOF_OPTIONAL : GV_TLS_PROOF_REQUIRED;
}

static enum gv_err open_ports(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    enum gv_err err = write_plain_answer(node);
    if (err == GV_OK && config->tls_cert_path[0] != '\0') {
        struct gv_tls_options options = {
            .name = "clients",
            .side = GV_TLS_ACCEPTING,
            .cert_path = config->tls_cert_path,
            .key_path = config->tls_key_path,
            .ca_paths = config->tls_client_ca_paths.items,
            .ca_count = config->tls_client_ca_paths.count,
            .proof = proof_of(&config->tls_client_ca_paths, config->tls_client_auth),
            .handshake_timeout_ms = config->tls_handshake_timeout_ms,
            .handshakes_max = config->tls_max_handshakes,
            .handshakes_per_address_max = config->tls_max_handshakes_per_address,
            .plain_answer = (const char *)node->plain_answer.data};
        err = open_one(&options, &node->client_tls);
    }
    if (err == GV_OK && config->admin_tls_cert_path[0] != '\0') {
        struct gv_tls_options options = {
            .name = "admin",
            .side = GV_TLS_ACCEPTING,
            .cert_path = config->admin_tls_cert_path,
            .key_path = config->admin_tls_key_path,
            .ca_paths = config->admin_tls_client_ca_paths.items,
            .ca_count = config->admin_tls_client_ca_paths.count,
            .proof = proof_of(&config->admin_tls_client_ca_paths, "required"),
            .handshake_timeout_ms = ADMIN_HANDSHAKE_MS,
            .handshakes_max = ADMIN_HANDSHAKES,
            .plain_answer = (const char *)node->plain_answer.data};
        err = open_one(&options, &node->admin_tls);
    }
    return err;
}

enum gv_err gv_certs_open(struct gv_node *node)
{
    const struct gv_config *config = node->config;
    enum gv_err err = open_ports(node);
    if (err == GV_OK) {
        struct gv_tls_options options = {.name = "workers",
                                         .side = GV_TLS_CONNECTING,
                                         .cert_path = config->client_cert_path,
                                         .key_path = config->client_key_path,
                                         .ca_paths = config->ca_cert_paths.items,
                                         .ca_count = config->ca_cert_paths.count,
                                         .handshake_timeout_ms = WORKER_HANDSHAKE_MS};
        err = open_one(&options, &node->worker_tls);
    }
    if (err == GV_OK) {
        err = gv_timer_open(node->service, on_look, node, &node->certs_timer);
    }
    if (err == GV_OK) {
        gv_timer_start(node->certs_timer, LOOK_MS, LOOK_MS);
        err = gv_signal_open(node->service, SIGHUP, on_hangup, node);
    }
    return err;
}

void gv_certs_close(struct gv_node *node)
{
    gv_tls_free(node->client_tls);
    gv_tls_free(node->admin_tls);
    gv_tls_free(node->worker_tls);
    gv_buf_deinit(&node->plain_answer);
}
