/*
 * help.c - see help.h.
 */
#include "help.h"

#include <string.h>

static const struct command commands[] = {
    {"status", "", "the whole cluster on one screen, and a verdict",
     "Asks all nodes. DIGEST is the beginning and the end of what 'diff' shows: who has the same\n"
     "holds the same state. A line 'alarms' says what to look at; 'gossip' says what each means.\n",
     false, status_command},
    {"nodes", "[-o wide]", "the router nodes, as the node asked sees them",
     "STATUS: alive, suspect (does not answer), dead, left. SESSION: a connection of the node "
     "asked\n"
     "with it; beyond 32 nodes each has 8 to 12 of them. Wide: when it was heard last, how many "
     "of\n"
     "its operations are applied, how many are missing, its clock, and what the others say of it.\n"
     "Exit: 1 when a node that has not left is not alive, or its clock is half a minute off.\n",
     false, nodes_command},
    {"reachability", "", "what every node thinks of every other; finds one-sided views",
     "A row is who says it, a column whom it is about. open: alive and in session; alive: "
     "without.\n"
     "Nodes that are said to be dead are asked as well. Exit: 1 when a pair does not agree.\n",
     false, reachability_command},
    {"gossip", "[-o wide]", "what the mesh does: rates, queues, repairs, refusals, clocks",
     "Asks twice, a second apart; OVERFLOWS, REPAIRS and REFUSED (stamps) count from each node's\n"
     "start. Wide: every kind of repair, refusal and drop. Alarms come with what they mean.\n",
     false, gossip_command},
    {"wait", "--for STATE", "until all nodes are 'converged' or 'ready'; 124 when not in time",
     "  --for converged      the nodes that are alive hold the same state\n"
     "  --for ready          no node is dead or in doubt, all take requests\n"
     "  --nodes N            and at least so many are alive [1]\n"
     "  --timeout SECONDS    [60]\n"
     "Goes on while nobody answers. Exit: 0 when it holds, 124 when not in time.\n",
     false, wait_command},
    {"workers", "[-o wide]", "the workers: pool, state, load, prompt blocks held", "", false,
     workers_command},
    {"tree", "", "the tries: one per pool::model, who holds how much", "", false, tree_command},
    {"explain", "[--one-node] FILE|-",
     "where a request (JSON body) would go on every node, and why",
     "  --one-node           only on the node asked\n"
     "  --request-path PATH  what the request would be sent to [/v1/chat/completions]\n"
     "  --routing-key KEY    as if it were sent with X-SMG-Routing-Key\n"
     "  --target-worker W    as if it were sent with X-SMG-Target-Worker\n",
     true, explain_command},
    {"diff", "[--deep]", "do all nodes agree? compares the state digests",
     "  --deep               the tries themselves, too, not only what was applied to them\n"
     "Asks up to five times while nodes differ: they are not asked at the same instant.\n"
     "Exit: 0 one state, 1 several, 4 one, but some nodes did not answer.\n",
     false, diff_command},
    {"keys", "generate|list|install|use|retire", "make the mesh's keys, and rotate them",
     "  keys generate [FILE]                       a ring with one new key, mode 0600\n"
     "  keys list                                  which keys each node has, which it uses\n"
     "  keys install NEW --mesh-keyring PRESENT    give the key of the ring NEW to all nodes,\n"
     "                                             sealed under that of the ring they have\n"
     "  keys use ID                                all nodes seal with it from now on\n"
     "  keys retire ID                             all nodes forget it\n"
     "Rotate by generate, install, use, retire, in this order; a step that was interrupted can be\n"
     "taken again. Needs nodes with an API key. docs/security.md says what it is worth.\n",
     true, keys_command},
    {"settings", "list|set|unset", "values that hold on all nodes while they run: look, change",
     "  settings list\n"
     "  settings set NAME VALUE\n"
     "  settings unset NAME                        as each node was started\n",
     true, settings_command},
};

const struct command *command_of(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

void help_command(FILE *out, const struct command *command)
{
    fprintf(out,
            "vinectl %s - %s\n\n"
            "Usage: vinectl [flags] %s%s%s\n",
            command->name, command->what, command->name, command->arguments[0] == '\0' ? "" : " ",
            command->arguments);
    fprintf(out, command->more[0] == '\0' ? "\n" : "\n%s\n", command->more);
    fputs("Flags of all commands, exit codes: vinectl --help\n", out);
}

void help_all(FILE *out)
{
    fputs("vinectl - look at a grapevine cluster through any of its nodes\n\n"
          "Usage: vinectl [flags] COMMAND [arguments]\n\n"
          "Examples:\n"
          "  vinectl status\n"
          "  vinectl --endpoint http://router-1:30000 workers\n"
          "  vinectl wait --for ready --nodes 3 --timeout 60\n"
          "  echo '{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}' | "
          "vinectl "
          "explain -\n"
          "  vinectl keys generate mesh.keys\n"
          "  vinectl settings set cache-threshold 0.5\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char call[48];
        snprintf(call, sizeof call, "%s %s", commands[i].name, commands[i].arguments);
        fprintf(out, strlen(call) > 22 ? "  %s\n%25s%s\n" : "  %-22s%1s%s\n", call, "",
                commands[i].what);
    }
    fputs("\nFlags:\n"
          "  --endpoint URL         a node's data or metrics port [$GRAPEVINE_ENDPOINT, else "
          "http://127.0.0.1:30000]\n"
          "  --api-key-file FILE    the key, when the cluster asks for one "
          "[$GRAPEVINE_API_KEY_FILE]\n"
          "  --cacert FILE          https: who vouches for the nodes [$GRAPEVINE_CACERT, else the "
          "system]\n"
          "  --cert FILE            https: our certificate, for nodes that ask [$GRAPEVINE_CERT]\n"
          "  --key FILE             https: its key [$GRAPEVINE_KEY]\n"
          "  --timeout SECONDS      for everything together [5; wait: 60]\n"
          "  -o, --output FORMAT    table, wide or json [table]\n"
          "  --no-headers           tables without their first line\n"
          "  --all-nodes            explain: on all nodes, side by side; this is the default\n"
          "  --one-node             explain: only on the node asked\n"
          "  --deep                 diff: compare the tries themselves, too\n"
          "  --for STATE            wait: 'converged': the nodes that are alive hold the same "
          "state;\n"
          "                         'ready': no node is dead or in doubt, all take requests\n"
          "  --nodes N              wait: and there are at least so many [1]\n"
          "  --mesh-keyring FILE    keys install: the ring that the nodes have now\n"
          "  --request-path PATH    explain: what the request would be sent to "
          "[/v1/chat/completions]\n"
          "  --routing-key KEY      explain: as if it were sent with X-SMG-Routing-Key\n"
          "  --target-worker W      explain: as if it were sent with X-SMG-Target-Worker\n"
          "  -h, --help             this text; COMMAND --help: more of the command\n"
          "  --version              the version\n\n"
          "Exit codes: 0 healthy, 1 degraded, 2 usage, 3 node unreachable, 4 some nodes silent,\n"
          "5 key refused, 124 wait: not in time\n",
          out);
}
