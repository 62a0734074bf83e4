/*
 * plot.c - the runs as one SVG: hit rate and mean time to the first token over the trace's time, a
 * line per contender, and bars beside them.
 */
#include "lab.h"
#include <stdio.h>

#define PLOT_WIDTH  560.0
#define PLOT_HEIGHT 240.0
#define PLOT_LEFT   60.0
#define ROW_HEIGHT  18.0
#define BAR_WIDTH   260.0
#define TOP         50.0

static const char *const colours[] = {"#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3",
                                      "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd"};
#define COLOUR_COUNT (sizeof colours / sizeof colours[0])

/* What a plot shows of a stretch of time; below 0: nothing was there. */
typedef double (*value_fn)(const struct lab_bucket *bucket);

static double hit_of(const struct lab_bucket *bucket)
{
    return bucket->prompt_tokens == 0
               ? -1
               : (double)bucket->cached_tokens / (double)bucket->prompt_tokens;
}

static double first_of(const struct lab_bucket *bucket)
{
    return bucket->first_count == 0 ? -1
                                    : bucket->first_sum_us / 1000 / (double)bucket->first_count;
}

static double highest(const struct lab_result *results, uint32_t count, value_fn value)
{
    double most = 1e-9;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t b = 0; b < LAB_BUCKETS; b++) {
            double here = value(&results[i].buckets[b]);
            most = here > most ? here : most;
        }
    }
    return most;
}

static void draw_lines(FILE *file, const struct lab_result *results, uint32_t count, double top,
                       value_fn value, const char *title)
{
    double most = highest(results, count, value);
    (void)fprintf(file,
                  "<text x=\"%.0f\" y=\"%.0f\">%s (top: %.4g)</text>\n"
                  "<rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" fill=\"none\" "
                  "stroke=\"#999\"/>\n",
                  PLOT_LEFT, top - 6, title, most, PLOT_LEFT, top, PLOT_WIDTH, PLOT_HEIGHT);
    for (uint32_t i = 0; i < count; i++) {
        (void)fprintf(file, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"",
                      colours[i % COLOUR_COUNT]);
        for (uint32_t b = 0; b < LAB_BUCKETS; b++) {
            double here = value(&results[i].buckets[b]);
            if (here >= 0) {
                (void)fprintf(file, "%.1f,%.1f ", PLOT_LEFT + PLOT_WIDTH * (b + 0.5) / LAB_BUCKETS,
                              top + PLOT_HEIGHT * (1 - here / most));
            }
        }
        (void)fprintf(file, "\"/>\n");
    }
}

static void draw_bars(FILE *file, const struct lab_possible *possible,
                      const struct lab_result *results, uint32_t count)
{
    double left = PLOT_LEFT + PLOT_WIDTH + 40;
    double most = possible->infinite > 0 ? possible->infinite : 1;
    (void)fprintf(file,
                  "<text x=\"%.0f\" y=\"%.0f\">hit rate (full width: possible, %.3f), mean "
                  "time to first token</text>\n",
                  left, TOP - 6, possible->infinite);
    for (uint32_t i = 0; i < count; i++) {
        double y = TOP + ROW_HEIGHT * i;
        double hit = lab_hit_rate(&results[i]);
        (void)fprintf(file,
                      "<rect x=\"%.0f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" fill=\"%s\"/>\n"
                      "<text x=\"%.0f\" y=\"%.1f\">%s, %u: %.3f, %.0f ms</text>\n",
                      left, y, BAR_WIDTH * (hit < most ? hit / most : 1), ROW_HEIGHT - 4,
                      colours[i % COLOUR_COUNT], left + BAR_WIDTH + 8, y + ROW_HEIGHT - 7,
                      results[i].contender.name, results[i].contender.routers, hit,
                      lab_first_ms(&results[i]));
    }
}

bool lab_plot(const struct lab_options *options, const struct lab_possible *possible,
              const struct lab_result *results, uint32_t count)
{
    FILE *file = fopen(options->svg_file, "w");
    if (file == NULL) {
        (void)fprintf(stderr, "replay lab: cannot write %s\n", options->svg_file);
        return false;
    }
    double second = TOP + PLOT_HEIGHT + 40;
    double bottom = second + PLOT_HEIGHT + 20;
    double rows = TOP + ROW_HEIGHT * count + 20;
    (void)fprintf(file,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"%.0f\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
                  "<text x=\"%.0f\" y=\"20\" font-size=\"14\">%s, %u engines, %s</text>\n",
                  bottom > rows ? bottom : rows, PLOT_LEFT, options->trace.trace_file,
                  options->engines, lab_situation_name(options->situation));
    draw_lines(file, results, count, TOP, hit_of, "hit rate over time");
    draw_lines(file, results, count, second, first_of, "mean time to the first token, ms");
    draw_bars(file, possible, results, count);
    (void)fprintf(file, "</svg>\n");
    if (fclose(file) != 0) {
        (void)fprintf(stderr, "replay lab: cannot write %s\n", options->svg_file);
        return false;
    }
    return true;
}
