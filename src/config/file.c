/*
 * file.c - a YAML file of options: one flat mapping, read strictly.
 *
 * libyaml's events are walked by hand, because YAML allows much that has no place here: aliases,
 * tags, duplicate keys, several documents, "no" for false. Everything that is not understood is an
 * error with file, line and column; nothing is skipped in silence.
 */
#include "grapevine/base/mem.h"
#include "inner.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define PLACE_BYTES 600
#define NAMED_BYTES (PLACE_BYTES + GV_OPTION_NAME_BYTES + 8)

struct reading {
    struct gv_loading *loading; /* borrowed */
    const char *path;           /* borrowed */
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    bool seen[GV_OPTION_MAX];
};

static void place(const struct reading *reading, yaml_mark_t mark, char text[PLACE_BYTES])
{
    (void)snprintf(text, PLACE_BYTES, "%.500s:%zu:%zu", reading->path, mark.line + 1,
                   mark.column + 1);
}

static void complain(struct reading *reading, yaml_mark_t mark, const char *what)
{
    char where[PLACE_BYTES];
    place(reading, mark, where);
    gv_config_complain(reading->loading, "%s: %s", where, what);
}

/* The next event; false when the file is broken or says what we do not take. */
static bool next(struct reading *reading)
{
    if (reading->has_event) {
        yaml_event_delete(&reading->event);
        reading->has_event = false;
    }
    if (!yaml_parser_parse(&reading->parser, &reading->event)) {
        const char *problem = reading->parser.problem;
        complain(reading, reading->parser.problem_mark,
                 problem == NULL ? "cannot be read" : problem);
        return false;
    }
    reading->has_event = true;
    const yaml_event_t *event = &reading->event;
    const char *refused = NULL;
    if (event->type == YAML_ALIAS_EVENT) {
        refused = "aliases (*name) are not allowed";
    } else if (event->type == YAML_SCALAR_EVENT &&
               (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)) {
        refused = "anchors (&name) and tags (!name) are not allowed";
    } else if (event->type == YAML_SEQUENCE_START_EVENT &&
               (event->data.sequence_start.anchor != NULL ||
                event->data.sequence_start.tag != NULL)) {
        refused = "anchors (&name) and tags (!name) are not allowed";
    } else if (event->type == YAML_MAPPING_START_EVENT &&
               (event->data.mapping_start.anchor != NULL ||
                event->data.mapping_start.tag != NULL)) {
        refused = "anchors (&name) and tags (!name) are not allowed";
    } else if (event->type == YAML_SCALAR_EVENT &&
               memchr(event->data.scalar.value, '\0', event->data.scalar.length) != NULL) {
        refused = "a NUL byte";
    }
    if (refused != NULL) {
        complain(reading, event->start_mark, refused);
        return false;
    }
    return true;
}

static const char *scalar(const struct reading *reading)
{
    return (const char *)reading->event.data.scalar.value;
}

/* "key:" with nothing behind it. */
static bool is_null(const struct reading *reading)
{
    const char *text = scalar(reading);
    return reading->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static bool is_list(const struct gv_option *option)
{
    return option->type == GV_OPTION_LIST || option->type == GV_OPTION_KEYS ||
           option->type == GV_OPTION_PREFILLS;
}

static void name_value(const struct reading *reading, const struct gv_option *option,
                       char named[NAMED_BYTES])
{
    char where[PLACE_BYTES];
    char key[GV_OPTION_NAME_BYTES];
    place(reading, reading->event.start_mark, where);
    gv_option_key(option, key);
    (void)snprintf(named, NAMED_BYTES, "%s: %s", where, key);
}

static bool read_items(struct reading *reading, const struct gv_option *option)
{
    if (!is_list(option)) {
        complain(reading, reading->event.start_mark, "one value is wanted here, not a list");
        return false;
    }
    gv_config_begin_list(reading->loading, option, GV_ORIGIN_FILE);
    for (;;) {
        if (!next(reading)) {
            return false;
        }
        if (reading->event.type == YAML_SEQUENCE_END_EVENT) {
            return true;
        }
        if (reading->event.type != YAML_SCALAR_EVENT || is_null(reading)) {
            complain(reading, reading->event.start_mark, "a list of plain values is wanted here");
            return false;
        }
        char named[NAMED_BYTES];
        name_value(reading, option, named);
        gv_config_add_item(reading->loading, option, scalar(reading), GV_ORIGIN_FILE, named);
    }
}

static bool read_value(struct reading *reading, const struct gv_option *option)
{
    if (!next(reading)) {
        return false;
    }
    if (reading->event.type == YAML_SEQUENCE_START_EVENT) {
        return read_items(reading, option);
    }
    if (reading->event.type != YAML_SCALAR_EVENT) {
        complain(reading, reading->event.start_mark, "a plain value is wanted here, not a mapping");
        return false;
    }
    if (is_null(reading)) {
        if (is_list(option)) {
            gv_config_begin_list(reading->loading, option, GV_ORIGIN_FILE);
        } else {
            complain(reading, reading->event.start_mark, "has no value");
        }
        return true;
    }
    char named[NAMED_BYTES];
    name_value(reading, option, named);
    gv_config_set(reading->loading, option, scalar(reading), GV_ORIGIN_FILE, named);
    return true;
}

/* Step over the value of an unknown key, so that the rest of the file is looked at too. */
static bool skip_value(struct reading *reading)
{
    size_t depth = 0;
    do {
        if (!next(reading)) {
            return false;
        }
        yaml_event_type_t type = reading->event.type;
        if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT) {
            depth += 1;
        } else if (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT) {
            depth -= 1;
        }
    } while (depth > 0 && depth < 16);
    return depth == 0;
}

static bool read_pair(struct reading *reading)
{
    if (reading->event.type != YAML_SCALAR_EVENT) {
        complain(reading, reading->event.start_mark, "a key is wanted here");
        return false;
    }
    struct gv_slice name = gv_slice_text(scalar(reading));
    const struct gv_option *option = gv_option_find(name);
    char what[256];
    if (option == NULL) {
        const char *nearest = gv_option_nearest(name);
        const struct gv_option *near_option =
            nearest == NULL ? NULL : gv_option_find(gv_slice_text(nearest));
        char key[GV_OPTION_NAME_BYTES] = "";
        if (near_option != NULL) {
            gv_option_key(near_option, key);
        }
        (void)snprintf(what, sizeof what, "unknown key '%.64s'%s%s%s", scalar(reading),
                       near_option == NULL ? "" : "; did you mean ", key,
                       near_option == NULL ? "" : "?");
        complain(reading, reading->event.start_mark, what);
        return skip_value(reading);
    }
    size_t count;
    size_t index = (size_t)(option - gv_option_table(&count));
    if (reading->seen[index]) {
        (void)snprintf(what, sizeof what, "key '%.64s' is here twice", scalar(reading));
        complain(reading, reading->event.start_mark, what);
        return skip_value(reading);
    }
    reading->seen[index] = true;
    return read_value(reading, option);
}

static void read_document(struct reading *reading)
{
    if (!next(reading)) { /* stream start */
        return;
    }
    if (!next(reading) || reading->event.type == YAML_STREAM_END_EVENT) {
        return; /* an empty file is a file of defaults */
    }
    if (!next(reading)) { /* behind document start */
        return;
    }
    bool is_empty = reading->event.type == YAML_SCALAR_EVENT && is_null(reading);
    if (!is_empty && reading->event.type != YAML_MAPPING_START_EVENT) {
        complain(reading, reading->event.start_mark, "lines of 'key: value' are wanted");
        return;
    }
    while (!is_empty) {
        if (!next(reading)) {
            return;
        }
        if (reading->event.type == YAML_MAPPING_END_EVENT) {
            break;
        }
        if (!read_pair(reading)) {
            return;
        }
    }
    if (!next(reading) || !next(reading)) { /* document end, and then the end of all */
        return;
    }
    if (reading->event.type != YAML_STREAM_END_EVENT) {
        complain(reading, reading->event.start_mark, "more than one document");
    }
}

FILE *gv_config_open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    if (fd < 0) {
        return NULL;
    }
    bool is_open_already = strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
    int error = fstat(fd, &about) == 0 ? 0 : errno;
    if (error == 0 && S_ISDIR(about.st_mode)) {
        error = EISDIR;
    } else if (error == 0 && !S_ISREG(about.st_mode) && !is_open_already) {
        error = EINVAL;
    }
    if (error == 0 && fcntl(fd, F_SETFL, 0) != 0) { /* from here on, reading waits */
        error = errno;
    }
    FILE *file = error == 0 ? fdopen(fd, "r") : NULL;
    if (file == NULL) {
        error = error == 0 ? errno : error;
        (void)close(fd);
        errno = error;
    }
    return file;
}

/* The whole file; NULL after a complaint. */
static char *slurp(struct gv_loading *loading, const char *path, size_t *len)
{
    FILE *file = gv_config_open_file(path);
    if (file == NULL) {
        gv_config_complain(loading, "%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    char *text = gv_mem_new(GV_MEM_GENERAL, GV_CONFIG_FILE_BYTES_MAX + 1);
    *len = text == NULL ? 0 : fread(text, 1, GV_CONFIG_FILE_BYTES_MAX + 1, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (text == NULL) {
        gv_config_complain(loading, "out of memory");
    } else if (failed || *len > GV_CONFIG_FILE_BYTES_MAX) {
        gv_config_complain(loading, "%s: %s", path,
                           failed ? "cannot be read" : "larger than 1 MiB");
        gv_mem_free(GV_MEM_GENERAL, text);
        text = NULL;
    }
    return text;
}

void gv_config_read_file(struct gv_loading *loading, const char *path)
{
    size_t len;
    char *text = slurp(loading, path, &len);
    if (text == NULL) {
        return;
    }
    struct reading reading = {.loading = loading, .path = path};
    if (yaml_parser_initialize(&reading.parser)) {
        yaml_parser_set_input_string(&reading.parser, (const unsigned char *)text, len);
        read_document(&reading);
        if (reading.has_event) {
            yaml_event_delete(&reading.event);
        }
        yaml_parser_delete(&reading.parser);
    } else {
        gv_config_complain(loading, "out of memory");
    }
    gv_mem_free(GV_MEM_GENERAL, text);
}
