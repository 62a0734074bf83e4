/*
 * decision.c - the names and meanings of the rules by which a worker was chosen.
 */
#include "grapevine/route/decision.h"

#include "grapevine/base/assert.h"

static const char *const names[GV_RULE_COUNT] = {
#define GV_RULE_TEXT(name, text, meaning) [GV_RULE_##name] = (text),
    GV_RULE_LIST(GV_RULE_TEXT)
#undef GV_RULE_TEXT
};

static const char *const meanings[GV_RULE_COUNT] = {
#define GV_RULE_MEANING(name, text, meaning) [GV_RULE_##name] = (meaning),
    GV_RULE_LIST(GV_RULE_MEANING)
#undef GV_RULE_MEANING
};

const char *gv_rule_name(enum gv_rule rule)
{
    GV_ASSERT(rule < GV_RULE_COUNT);
    return names[rule];
}

const char *gv_rule_meaning(enum gv_rule rule)
{
    GV_ASSERT(rule < GV_RULE_COUNT);
    return meanings[rule];
}
