/* Preloaded into a child process: fsync and fdatasync fail with EIO after FSYNC_FAILS_AFTER calls
 * that reached the disk, and say so on standard output, in order with what the child writes there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int calls;

static int sync_or_fail(const char *name, int fd)
{
    const char *limit = getenv("FSYNC_FAILS_AFTER");
    if (limit && atomic_fetch_add(&calls, 1) >= atoi(limit)) {
        if (write(1, "\nFAILED\n", 8) < 0)
            _exit(99);
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return sync_or_fail("fsync", fd); }
int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }
