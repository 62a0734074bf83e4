/*
 * address.c - where the mesh listens, and what address the others are told.
 */
#include "address.h"

#include "grapevine/base/log.h"
#include "grapevine/net/source.h"
#include "shell.h"

static enum gv_err read_host(const char *option, const char *host, uint16_t port,
                             struct gv_addr *addr)
{
    enum gv_err err = gv_source_read(host, port, addr);
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "address.unreadable", GV_STR("option", option), GV_STR("value", host),
               GV_ERR(err));
        return GV_EINVAL;
    }
    return GV_OK;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

enum gv_err gv_address_bind(const struct gv_config *config, bool may_be_open, struct gv_addr *addr)
{
    if (is_given(config->mesh_host)) {
        return read_host("mesh-host", config->mesh_host, config->mesh_port, addr);
    }
    if (may_be_open && is_given(config->host)) {
        return read_host("host", config->host, config->mesh_port, addr);
    }
    *addr = (struct gv_addr){.family = 4, .ip = {127, 0, 0, 1}, .port = config->mesh_port};
    return GV_OK;
}

enum gv_err gv_address_advertise(const struct gv_config *config, const struct gv_addr *bound,
                                 struct gv_addr *addr)
{
    if (is_given(config->mesh_advertise_host)) {
        enum gv_err err =
            read_host("mesh-advertise-host", config->mesh_advertise_host, bound->port, addr);
        if (err == GV_OK && gv_addr_is_unspecified(addr)) {
            gv_log(GV_LOG_ERROR, "address.unspecified",
                   GV_STR("mesh-advertise-host", config->mesh_advertise_host),
                   GV_STR("advice", "give the address at which others reach this node"));
            err = GV_EINVAL;
        }
        return err;
    }
    if (!gv_addr_is_unspecified(bound)) {
        *addr = *bound;
        return GV_OK;
    }
    struct gv_addr found;
    enum gv_err err = GV_ENOTFOUND;
    for (size_t i = 0; err != GV_OK && i < config->seeds.count; i++) {
        struct gv_seed_name seed;
        if (gv_seed_parse(gv_slice_text(config->seeds.items[i]), config->mesh_port, &seed) ==
                GV_OK &&
            seed.is_numeric) {
            err = gv_source_find(&seed.addr, &found);
        }
    }
    if (err != GV_OK) {
        err = gv_source_find(NULL, &found);
    }
    if (err != GV_OK) {
        gv_log(GV_LOG_ERROR, "address.unknown",
               GV_STR("advice", "say how others reach this node: --mesh-advertise-host"));
        return GV_ENOTFOUND;
    }
    found.port = bound->port;
    *addr = found;
    return GV_OK;
}
