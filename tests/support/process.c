#include "support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[128];
static unsigned started_count;

uint64_t gv_test_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void gv_test_pause(void)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
}

bool gv_test_await(bool (*condition)(void *owner), void *owner, uint64_t deadline_ms)
{
    uint64_t until = gv_test_now_ms() + (deadline_ms == 0 ? GV_PROCESS_DEADLINE_MS : deadline_ms);
    while (!condition(owner)) {
        if (gv_test_now_ms() > until) {
            return false;
        }
        gv_test_pause();
    }
    return true;
}

const char *gv_test_folder(void)
{
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "/tmp/grapevine-test-XXXXXX");
        if (mkdtemp(folder) == NULL) {
            perror("mkdtemp");
            exit(2);
        }
        printf("outputs of the programs under test: %s\n", folder);
    }
    return folder;
}

/* In the child: become the program. Never returns. */
static void become(const struct gv_process *process, const char *const *argv)
{
    char path[512];
    const char *bin = getenv("GV_BIN");
    int log = open(process->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves nothing behind */
    if (log < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0) {
        _exit(126);
    }
    close(log);
    snprintf(path, sizeof path, "%s/%s", bin == NULL ? "build/dev/bin" : bin, argv[0]);
    union {
        const char *const *in;
        char *const *out;
    } args = {.in = argv};
    execv(argv[0][0] == '/' ? argv[0] : path, args.out);
    fprintf(stderr, "cannot start %s: %s\n", path, strerror(errno));
    _exit(127);
}

bool gv_process_start(struct gv_process *process, const char *name, const char *const *argv)
{
    memset(process, 0, sizeof *process);
    snprintf(process->log, sizeof process->log, "%s/%02u-%s.log", gv_test_folder(), started_count++,
             name);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        return false;
    }
    if (pid == 0) {
        become(process, argv);
    }
    process->pid = pid;
    return true;
}

/* Has it ended? Remembers its status. */
static bool reap(struct gv_process *process, int flags)
{
    if (process->pid == 0) {
        return true;
    }
    if (waitpid(process->pid, &process->status, flags) == process->pid) {
        process->pid = 0;
        return true;
    }
    return false;
}

static char *read_log(const struct gv_process *process)
{
    FILE *file = fopen(process->log, "re");
    struct stat about;
    if (file == NULL || fstat(fileno(file), &about) != 0) {
        if (file != NULL) {
            fclose(file);
        }
        return strdup("");
    }
    char *text = malloc((size_t)about.st_size + 1);
    size_t got = text == NULL ? 0 : fread(text, 1, (size_t)about.st_size, file);
    fclose(file);
    if (text != NULL) {
        text[got] = '\0';
    }
    return text;
}

/* Copy the whole line around `at`. */
static void copy_line(const char *text, const char *at, char *line, size_t size)
{
    while (at > text && at[-1] != '\n') {
        at--;
    }
    snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static bool find_line(const struct gv_process *process, const char *needle, char *line, size_t size)
{
    char *text = read_log(process);
    const char *at = text == NULL ? NULL : strstr(text, needle);
    bool whole = at != NULL && strchr(at, '\n') != NULL;
    if (whole && line != NULL) {
        copy_line(text, at, line, size);
    }
    free(text);
    return whole;
}

static void print_end(const struct gv_process *process, const char *needle)
{
    char *text = read_log(process);
    size_t len = text == NULL ? 0 : strlen(text);
    printf("waited in vain for '%s'; %s ends with:\n%s\n", needle, process->log,
           text == NULL ? "" : text + (len > 3000 ? len - 3000 : 0));
    free(text);
}

bool gv_process_await(struct gv_process *process, const char *needle, char *line, size_t size)
{
    uint64_t until = gv_test_now_ms() + GV_PROCESS_DEADLINE_MS;
    for (;;) {
        bool ended = reap(process, WNOHANG);
        if (find_line(process, needle, line, size)) {
            return true;
        }
        if (ended || gv_test_now_ms() > until) {
            print_end(process, needle);
            return false;
        }
        gv_test_pause();
    }
}

bool gv_process_has_said(const struct gv_process *process, const char *needle)
{
    return find_line(process, needle, NULL, 0);
}

void gv_process_signal(struct gv_process *process, int signum)
{
    if (process->pid == 0) {
        return;
    }
    kill(process->pid, signum);
    if (signum == SIGSTOP) {
        siginfo_t info; /* a thread on another core may run for a while yet */
        (void)waitid(P_PID, (id_t)process->pid, &info, WSTOPPED | WEXITED | WNOWAIT);
    }
}

int gv_process_wait(struct gv_process *process)
{
    uint64_t until = gv_test_now_ms() + GV_PROCESS_DEADLINE_MS;
    while (!reap(process, WNOHANG)) {
        if (gv_test_now_ms() > until) {
            gv_process_kill(process);
            return -1;
        }
        gv_test_pause();
    }
    return WIFEXITED(process->status) ? WEXITSTATUS(process->status)
                                      : 128 + WTERMSIG(process->status);
}

void gv_process_kill(struct gv_process *process)
{
    if (process->pid != 0) {
        kill(process->pid, SIGKILL);
        reap(process, 0);
    }
}

bool gv_process_end(struct gv_process *process)
{
    static const char *const complaints[] = {"Sanitizer: ", "runtime error: "};
    if (process->pid != 0 && reap(process, WNOHANG)) {
        print_end(process, "the test's end");
        return false;
    }
    gv_process_kill(process);
    for (size_t i = 0; i < sizeof complaints / sizeof complaints[0]; i++) {
        if (process->log[0] != '\0' && gv_process_has_said(process, complaints[i])) {
            printf("a sanitizer complains in %s\n", process->log);
            return false;
        }
    }
    return true;
}

bool gv_line_value(const char *line, const char *key, char *value, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, " %s=", key);
    const char *at = strstr(line, name);
    if (at == NULL) {
        return false;
    }
    at += strlen(name);
    snprintf(value, size, "%.*s", (int)strcspn(at, " \n"), at);
    return true;
}
