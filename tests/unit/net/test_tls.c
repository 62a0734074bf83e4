/*
 * TLS as a machine of bytes: two sessions that talk through memory, and the files they come from.
 */
#include "../../../src/net/tls_session.h"
#include "grapevine/base/mem.h"
#include "grapevine/base/metric.h"
#include "support/certs.h"
#include "support/process.h"
#include "support/suite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIG_BYTES ((size_t)300 * 1024)

/* One side and what it has said and heard. */
struct side {
    struct gv_tls_session *session;
    struct gv_buf out;   /* to the other side */
    struct gv_buf plain; /* heard */
    enum gv_err err;     /* of the first feed that failed */
};

struct pair {
    struct gv_tls *tls[2];
    struct side client;
    struct side server;
};

static const char *ca_path[1];

static struct gv_tls_options server_options(const char *cert)
{
    static char key[512];
    (void)snprintf(key, sizeof key, "%s", gv_cert(cert));
    memcpy(key + strlen(key) - 3, "key", 3);
    return (struct gv_tls_options){.name = "test-server",
                                   .side = GV_TLS_ACCEPTING,
                                   .cert_path = gv_cert(cert),
                                   .key_path = key};
}

static struct gv_tls_options client_options(void)
{
    ca_path[0] = gv_cert("ca.pem");
    return (struct gv_tls_options){.name = "test-client",
                                   .side = GV_TLS_CONNECTING,
                                   .ca_paths = (char *const *)(uintptr_t)ca_path,
                                   .ca_count = 1};
}

static struct gv_tls *open_tls(struct gv_tls_options options)
{
    char trouble[GV_TLS_TROUBLE_BYTES] = "";
    struct gv_tls *tls = NULL;
    CU_ASSERT_EQUAL_FATAL(gv_tls_open(&options, &tls, trouble), GV_OK);
    return tls;
}

static void begin_side(struct side *side, struct gv_tls *tls, const char *host)
{
    memset(side, 0, sizeof *side);
    gv_buf_init(&side->out, GV_MEM_BUFFER, 16 * BIG_BYTES);
    gv_buf_init(&side->plain, GV_MEM_BUFFER, 16 * BIG_BYTES);
    CU_ASSERT_EQUAL_FATAL(gv_tls_session_new(tls, host, NULL, &side->session), GV_OK);
}

static void end_side(struct side *side)
{
    gv_tls_session_free(side->session);
    gv_buf_deinit(&side->out);
    gv_buf_deinit(&side->plain);
}

static void begin(struct pair *pair, struct gv_tls_options client, struct gv_tls_options server,
                  const char *host)
{
    pair->tls[0] = open_tls(client);
    pair->tls[1] = open_tls(server);
    begin_side(&pair->client, pair->tls[0], host);
    begin_side(&pair->server, pair->tls[1], NULL);
}

static void end(struct pair *pair)
{
    end_side(&pair->client);
    end_side(&pair->server);
    gv_tls_free(pair->tls[0]);
    gv_tls_free(pair->tls[1]);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_BUFFER), 0);
}

static bool is_alive(const struct side *side)
{
    return gv_tls_session_phase(side->session) != GV_TLS_FAILED;
}

static void feed(struct side *side, struct gv_slice bytes)
{
    if (is_alive(side)) {
        enum gv_err err = gv_tls_session_feed(side->session, bytes, &side->plain, &side->out);
        side->err = side->err == GV_OK ? err : side->err;
    }
}

/* What `from` has said comes to `to`, at most `step` bytes at a time. */
static void carry(struct side *from, struct side *to, size_t step)
{
    while (from->out.len > 0) {
        struct gv_slice all = gv_buf_slice(&from->out);
        struct gv_slice part = gv_slice_of(all.data, all.len < step ? all.len : step);
        feed(to, part);
        gv_buf_consume(&from->out, part.len);
    }
}

static void shake(struct pair *pair, size_t step)
{
    feed(&pair->client, gv_slice_of(NULL, 0));
    while (pair->client.out.len > 0 || pair->server.out.len > 0) {
        carry(&pair->client, &pair->server, step);
        carry(&pair->server, &pair->client, step);
    }
}

static bool both_are_open(const struct pair *pair)
{
    return gv_tls_session_phase(pair->client.session) == GV_TLS_OPEN &&
           gv_tls_session_phase(pair->server.session) == GV_TLS_OPEN;
}

static double count_of(const char *of, const char *outcome)
{
    struct gv_buf text;
    char line[128];
    gv_buf_init(&text, GV_MEM_GENERAL, 1 << 20);
    CU_ASSERT_EQUAL(gv_metric_render(&text), GV_OK);
    CU_ASSERT_EQUAL(gv_buf_append(&text, gv_slice_of("", 1)), GV_OK);
    (void)snprintf(line, sizeof line, "gv_tls_handshakes_total{of=\"%s\",outcome=\"%s\"} ", of,
                   outcome);
    const char *at = strstr((const char *)text.data, line);
    double value = at == NULL ? 0 : strtod(at + strlen(line), NULL);
    gv_buf_deinit(&text);
    return value;
}

static void a_handshake_that_comes_byte_by_byte_succeeds(void)
{
    struct pair pair;
    double before = count_of("test-server", "ok");
    begin(&pair, client_options(), server_options("server.pem"), "localhost");
    shake(&pair, 1);
    CU_ASSERT(both_are_open(&pair));
    CU_ASSERT_EQUAL(count_of("test-server", "ok"), before + 1);
    CU_ASSERT_EQUAL(
        gv_tls_session_seal(pair.client.session, gv_slice_text("ask"), &pair.client.out), GV_OK);
    carry(&pair.client, &pair.server, 1);
    CU_ASSERT(gv_slice_equal(gv_buf_slice(&pair.server.plain), gv_slice_text("ask")));
    end(&pair);
}

static void all_of_a_big_write_arrives_in_order(void)
{
    struct pair pair;
    begin(&pair, client_options(), server_options("server.pem"), "127.0.0.1");
    shake(&pair, 4096);
    CU_ASSERT_FATAL(both_are_open(&pair));
    uint8_t *big = malloc(BIG_BYTES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    for (size_t i = 0; i < BIG_BYTES; i++) {
        big[i] = (uint8_t)(i % 251);
    }
    struct gv_slice all = gv_slice_of(big, BIG_BYTES);
    CU_ASSERT_EQUAL(gv_tls_session_seal(pair.server.session, all, &pair.server.out), GV_OK);
    carry(&pair.server, &pair.client, 7001);
    CU_ASSERT(gv_slice_equal(gv_buf_slice(&pair.client.plain), all));
    free(big);
    end(&pair);
}

static void the_end_of_one_side_is_heard_and_the_other_may_go_on(void)
{
    struct pair pair;
    begin(&pair, client_options(), server_options("server.pem"), "localhost");
    shake(&pair, 4096);
    CU_ASSERT_EQUAL(
        gv_tls_session_seal(pair.client.session, gv_slice_text("last"), &pair.client.out), GV_OK);
    gv_tls_session_end(pair.client.session, &pair.client.out);
    carry(&pair.client, &pair.server, 4096);
    CU_ASSERT_EQUAL(gv_tls_session_phase(pair.server.session), GV_TLS_ENDED);
    CU_ASSERT(gv_slice_equal(gv_buf_slice(&pair.server.plain), gv_slice_text("last")));
    CU_ASSERT_EQUAL(
        gv_tls_session_seal(pair.server.session, gv_slice_text("yes"), &pair.server.out), GV_OK);
    carry(&pair.server, &pair.client, 4096);
    CU_ASSERT(gv_slice_equal(gv_buf_slice(&pair.client.plain), gv_slice_text("yes")));
    end(&pair);
}

/* The client refuses the certificate, says why, and the server hears that it was refused. */
static void expect_refusal(const char *cert, const char *host, const char *outcome,
                           const char *words)
{
    struct pair pair;
    double before = count_of("test-client", outcome);
    begin(&pair, client_options(), server_options(cert), host);
    shake(&pair, 4096);
    CU_ASSERT_EQUAL(pair.client.err, GV_EAUTH);
    CU_ASSERT_PTR_NOT_NULL(strstr(gv_tls_session_trouble(pair.client.session), words));
    CU_ASSERT_EQUAL(count_of("test-client", outcome), before + 1);
    CU_ASSERT_EQUAL(pair.server.err, GV_EAUTH);
    CU_ASSERT_PTR_NOT_NULL(strstr(gv_tls_session_trouble(pair.server.session), "refused"));
    end(&pair);
}

static void a_certificate_for_another_host_is_refused(void)
{
    expect_refusal("elsewhere.pem", "localhost", "wrong_host", "ostname mismatch");
    expect_refusal("elsewhere.pem", "127.0.0.1", "wrong_host", "IP address mismatch");
}

static void an_expired_certificate_is_refused_by_name(void)
{
    expect_refusal("expired.pem", "localhost", "certificate_expired",
                   "certificate of /CN=expired: certificate has expired");
}

static void a_certificate_by_a_stranger_is_refused(void)
{
    expect_refusal("stranger.pem", "localhost", "unknown_ca", "unable to get local issuer");
}

static void one_certificate_alone_can_be_trusted(void)
{
    static const char *pinned[1];
    const char *const shown[2] = {"server.pem", "renewed.pem"};
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        struct gv_tls_options client = client_options();
        pinned[0] = gv_cert("server.pem");
        client.ca_paths = (char *const *)(uintptr_t)pinned;
        begin(&pair, client, server_options(shown[i]), "localhost");
        shake(&pair, 4096);
        CU_ASSERT_EQUAL(both_are_open(&pair), i == 0);
        end(&pair);
    }
}

static struct gv_tls_options proving_server(enum gv_tls_proof proof)
{
    struct gv_tls_options options = server_options("server.pem");
    struct gv_tls_options trust = client_options();
    options.proof = proof;
    options.ca_paths = trust.ca_paths;
    options.ca_count = trust.ca_count;
    return options;
}

static struct gv_tls_options client_with(const char *cert)
{
    static char key[512];
    struct gv_tls_options options = client_options();
    (void)snprintf(key, sizeof key, "%s", gv_cert(cert));
    memcpy(key + strlen(key) - 3, "key", 3);
    options.cert_path = gv_cert(cert);
    options.key_path = key;
    return options;
}

static void a_client_without_a_certificate_is_refused_where_one_is_required(void)
{
    struct pair pair;
    begin(&pair, client_options(), proving_server(GV_TLS_PROOF_REQUIRED), "localhost");
    shake(&pair, 4096);
    CU_ASSERT_EQUAL(pair.server.err, GV_EAUTH);
    CU_ASSERT_EQUAL(pair.client.err, GV_EAUTH); /* after its own handshake was done */
    CU_ASSERT_PTR_NOT_NULL(
        strstr(gv_tls_session_trouble(pair.client.session), "certificate required"));
    CU_ASSERT(count_of("test-server", "no_certificate") >= 1);
    end(&pair);
    begin(&pair, client_options(), proving_server(GV_TLS_PROOF_OPTIONAL), "localhost");
    shake(&pair, 4096);
    CU_ASSERT(both_are_open(&pair));
    end(&pair);
}

static void a_clients_certificate_is_believed_when_an_authority_vouches_for_it(void)
{
    struct pair pair;
    begin(&pair, client_with("client.pem"), proving_server(GV_TLS_PROOF_REQUIRED), "localhost");
    shake(&pair, 4096);
    CU_ASSERT(both_are_open(&pair));
    end(&pair);
    enum gv_tls_proof proofs[2] = {GV_TLS_PROOF_REQUIRED, GV_TLS_PROOF_OPTIONAL};
    for (size_t i = 0; i < 2; i++) {
        begin(&pair, client_with("stranger.pem"), proving_server(proofs[i]), "localhost");
        shake(&pair, 4096);
        CU_ASSERT_EQUAL(pair.server.err, GV_EAUTH);
        CU_ASSERT_EQUAL(pair.client.err, GV_EAUTH);
        end(&pair);
    }
}

static void what_is_not_tls_ends_the_handshake(void)
{
    struct pair pair;
    begin(&pair, client_options(), server_options("server.pem"), "localhost");
    feed(&pair.server, gv_slice_text("\x01\x02\x03garbage and more of it"));
    CU_ASSERT_EQUAL(pair.server.err, GV_EPROTO);
    feed(&pair.client, gv_slice_of(NULL, 0));
    feed(&pair.client, gv_slice_text("HTTP/1.1 400 Bad Request\r\n\r\n"));
    CU_ASSERT_EQUAL(pair.client.err, GV_EPROTO);
    end(&pair);
}

static void plain_http_gets_the_plain_answer(void)
{
    struct pair pair;
    struct gv_tls_options server = server_options("server.pem");
    server.plain_answer = "HTTP/1.1 400 ...";
    double before = count_of("test-server", "plain_text");
    begin(&pair, client_options(), server, "localhost");
    feed(&pair.server, gv_slice_text("G"));
    CU_ASSERT_EQUAL(pair.server.err, GV_EPROTO);
    CU_ASSERT(gv_slice_equal(gv_buf_slice(&pair.server.out), gv_slice_text("HTTP/1.1 400 ...")));
    CU_ASSERT_EQUAL(count_of("test-server", "plain_text"), before + 1);
    end(&pair);
}

static void a_record_that_was_changed_on_its_way_breaks_the_session(void)
{
    struct pair pair;
    begin(&pair, client_options(), server_options("server.pem"), "localhost");
    shake(&pair, 4096);
    CU_ASSERT_EQUAL(
        gv_tls_session_seal(pair.client.session, gv_slice_text("ask"), &pair.client.out), GV_OK);
    pair.client.out.data[pair.client.out.start + pair.client.out.len - 1] ^= 1;
    carry(&pair.client, &pair.server, 4096);
    CU_ASSERT_EQUAL(pair.server.err, GV_EPROTO);
    CU_ASSERT_EQUAL(pair.server.plain.len, 0);
    end(&pair);
}

static void only_so_many_handshakes_are_under_way(void)
{
    struct gv_tls_options options = server_options("server.pem");
    options.handshakes_max = 2;
    struct gv_tls *tls = open_tls(options);
    struct gv_tls_session *sessions[3] = {NULL};
    double before = count_of("test-server", "too_many");
    CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, NULL, &sessions[0]), GV_OK);
    CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, NULL, &sessions[1]), GV_OK);
    CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, NULL, &sessions[2]), GV_EFULL);
    CU_ASSERT_EQUAL(count_of("test-server", "too_many"), before + 1);
    gv_tls_session_free(sessions[0]);
    CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, NULL, &sessions[2]), GV_OK);
    gv_tls_session_free(sessions[1]);
    gv_tls_session_free(sessions[2]);
    gv_tls_free(tls);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

static struct gv_addr address(const char *text)
{
    struct gv_addr addr;
    CU_ASSERT_EQUAL_FATAL(gv_addr_parse(gv_slice_text(text), 1, &addr), GV_OK);
    return addr;
}

/* One that holds all its places holds nobody else's. */
static void one_address_may_have_only_so_many_handshakes_under_way(void)
{
    static const struct {
        const char *held;  /* twice, which is all it may */
        const char *other; /* asks next */
        bool is_same;
    } cases[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"[::ffff:10.0.0.1]:7", "10.0.0.1", true},
        {"[::ffff:10.0.0.1]:7", "[::ffff:10.0.0.2]:7", false},
        {"[2001:db8::1]:7", "[2001:db8::2]:9", true},
        {"[2001:db8:0:1::1]:7", "[2001:db8:0:2::1]:7", false},
    };
    struct gv_tls_options options = server_options("server.pem");
    options.handshakes_per_address_max = 2;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gv_tls *tls = open_tls(options);
        struct gv_tls_session *sessions[4] = {NULL};
        struct gv_addr held = address(cases[i].held);
        struct gv_addr other = address(cases[i].other);
        double before = count_of("test-server", "too_many_of_address");
        CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, &held, &sessions[0]), GV_OK);
        CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, &held, &sessions[1]), GV_OK);
        CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, &other, &sessions[2]),
                        cases[i].is_same ? GV_EFULL : GV_OK);
        CU_ASSERT_EQUAL(count_of("test-server", "too_many_of_address"),
                        before + (cases[i].is_same ? 1 : 0));
        gv_tls_session_free(sessions[0]);
        CU_ASSERT_EQUAL(gv_tls_session_new(tls, NULL, &held, &sessions[3]), GV_OK);
        gv_tls_session_free(sessions[1]);
        gv_tls_session_free(sessions[2]);
        gv_tls_session_free(sessions[3]);
        gv_tls_free(tls);
    }
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

/* ---- files ---- */

static void expect_unusable(const char *cert, const char *key, enum gv_err expected,
                            const char *words)
{
    struct gv_tls_options options = {.name = "test-server", .cert_path = cert, .key_path = key};
    struct gv_tls *tls = NULL;
    char trouble[GV_TLS_TROUBLE_BYTES] = "";
    CU_ASSERT_EQUAL(gv_tls_open(&options, &tls, trouble), expected);
    CU_ASSERT_PTR_NULL(tls);
    if (strstr(trouble, words) == NULL) {
        printf("trouble: %s\n", trouble);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(trouble, words));
}

static void files_that_do_not_do_are_named(void)
{
    const char *cert = gv_cert("server.pem");
    expect_unusable("/nowhere/x.pem", gv_cert("server.key"), GV_ENOTFOUND, "/nowhere/x.pem");
    expect_unusable(cert, gv_cert("none.key"), GV_ENOTFOUND, "none.key");
    expect_unusable(gv_cert("garbage.pem"), gv_cert("server.key"), GV_EINVAL, "garbage.pem");
    expect_unusable(cert, gv_cert("client.key"), GV_EINVAL, "key values mismatch");
    expect_unusable(cert, gv_cert("locked.key"), GV_EINVAL, "locked.key");
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

/* Does a client that trusts our authority reach a server with `tls`, whose certificate is fine? */
static bool is_reachable(struct gv_tls *server)
{
    struct pair pair;
    pair.tls[0] = open_tls(client_options());
    begin_side(&pair.client, pair.tls[0], "localhost");
    begin_side(&pair.server, server, NULL);
    shake(&pair, 4096);
    bool reached = both_are_open(&pair);
    end_side(&pair.client);
    end_side(&pair.server);
    gv_tls_free(pair.tls[0]);
    return reached;
}

static void changed_files_are_used_and_broken_ones_are_not(void)
{
    char cert[512];
    char key[512];
    (void)snprintf(cert, sizeof cert, "%s", gv_cert("live.pem"));
    (void)snprintf(key, sizeof key, "%s", gv_cert("live.key"));
    CU_ASSERT_FATAL(gv_cert_replace("expired.pem", cert) && gv_cert_replace("expired.key", key));
    struct gv_tls *tls = open_tls(
        (struct gv_tls_options){.name = "test-server", .cert_path = cert, .key_path = key});
    CU_ASSERT_FALSE(is_reachable(tls));
    gv_tls_reload(tls, false);
    CU_ASSERT_FALSE(is_reachable(tls));
    CU_ASSERT_FATAL(gv_cert_replace("server.pem", cert) && gv_cert_replace("server.key", key));
    CU_ASSERT_FALSE(is_reachable(tls)); /* nobody has looked yet */
    gv_tls_reload(tls, false);
    CU_ASSERT(is_reachable(tls));
    CU_ASSERT_FATAL(gv_cert_replace("garbage.pem", cert));
    gv_tls_reload(tls, false);
    CU_ASSERT(is_reachable(tls));
    CU_ASSERT_FATAL(gv_cert_replace("renewed.pem", cert)); /* its key is still on its way */
    gv_tls_reload(tls, true);
    CU_ASSERT(is_reachable(tls));
    CU_ASSERT_FATAL(gv_cert_replace("renewed.key", key));
    gv_tls_reload(tls, false);
    CU_ASSERT(is_reachable(tls));
    gv_tls_free(tls);
    CU_ASSERT_EQUAL(gv_mem_used(GV_MEM_NET), 0);
}

static void a_session_keeps_what_it_began_with(void)
{
    struct pair pair;
    begin(&pair, client_options(), server_options("server.pem"), "localhost");
    gv_tls_reload(pair.tls[1], true);
    gv_tls_reload(pair.tls[0], true);
    shake(&pair, 4096);
    CU_ASSERT(both_are_open(&pair));
    gv_tls_reload(pair.tls[1], true);
    CU_ASSERT_EQUAL(
        gv_tls_session_seal(pair.client.session, gv_slice_text("ask"), &pair.client.out), GV_OK);
    carry(&pair.client, &pair.server, 4096);
    CU_ASSERT_EQUAL(pair.server.plain.len, 3);
    end(&pair);
}

GV_SUITE("net/tls", GV_CASE(a_handshake_that_comes_byte_by_byte_succeeds),
         GV_CASE(all_of_a_big_write_arrives_in_order),
         GV_CASE(the_end_of_one_side_is_heard_and_the_other_may_go_on),
         GV_CASE(a_certificate_for_another_host_is_refused),
         GV_CASE(an_expired_certificate_is_refused_by_name),
         GV_CASE(a_certificate_by_a_stranger_is_refused),
         GV_CASE(one_certificate_alone_can_be_trusted),
         GV_CASE(a_client_without_a_certificate_is_refused_where_one_is_required),
         GV_CASE(a_clients_certificate_is_believed_when_an_authority_vouches_for_it),
         GV_CASE(what_is_not_tls_ends_the_handshake), GV_CASE(plain_http_gets_the_plain_answer),
         GV_CASE(a_record_that_was_changed_on_its_way_breaks_the_session),
         GV_CASE(one_address_may_have_only_so_many_handshakes_under_way),
         GV_CASE(only_so_many_handshakes_are_under_way), GV_CASE(files_that_do_not_do_are_named),
         GV_CASE(changed_files_are_used_and_broken_ones_are_not),
         GV_CASE(a_session_keeps_what_it_began_with))
