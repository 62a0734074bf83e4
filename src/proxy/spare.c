/* spare.c - see spare.h. */
#include "spare.h"

#include "grapevine/base/mem.h"

#define GV_SPARE_HEADS_BYTES (8u * 1024) /* a carrier whose heads have more room is not kept */

#ifdef __SANITIZE_ADDRESS__
static const bool keeps_carriers = false; /* so that use after the end is seen */
#else
static const bool keeps_carriers = true;
#endif

static struct gv_carrier *make(void)
{
    struct gv_carrier *carrier = gv_mem_new(GV_MEM_EXCHANGE, sizeof *carrier);
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX && carrier != NULL; i++) {
        gv_buf_init(&carrier->legs[i].head, GV_MEM_EXCHANGE, GV_CARRIER_HEAD_BYTES_MAX);
    }
    return carrier;
}

struct gv_carrier *gv_spare_take(struct gv_proxy *proxy)
{
    if (proxy->spare_count == 0) {
        return make();
    }
    struct gv_carrier *carrier = proxy->spare[--proxy->spare_count];
    struct gv_buf heads[GV_EXCHANGE_LEGS_MAX];
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        heads[i] = carrier->legs[i].head;
        gv_buf_clear(&heads[i]);
    }
    memset(carrier, 0, offsetof(struct gv_carrier, detail));
    carrier->detail[0] = '\0';
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        carrier->legs[i].head = heads[i];
    }
    return carrier;
}

static void discard(struct gv_carrier *carrier)
{
    for (uint32_t i = 0; i < GV_EXCHANGE_LEGS_MAX; i++) {
        gv_buf_deinit(&carrier->legs[i].head);
    }
    gv_mem_free(GV_MEM_EXCHANGE, carrier);
}

void gv_spare_put(struct gv_proxy *proxy, struct gv_carrier *carrier)
{
    size_t room = carrier->legs[0].head.room + carrier->legs[1].head.room;
    if (keeps_carriers && proxy->spare_count < GV_CARRIERS_SPARE && room <= GV_SPARE_HEADS_BYTES) {
        proxy->spare[proxy->spare_count++] = carrier;
    } else {
        discard(carrier);
    }
}

void gv_spares_free(struct gv_proxy *proxy)
{
    while (proxy->spare_count > 0) {
        discard(proxy->spare[--proxy->spare_count]);
    }
}
