/*
 * How every peer is measured: batches of 32 packets, thread CPU time, the fastest and the median of several rounds.
 * Each peer prints "who,transform,operation,batch,size,minimum,median" with times in nanoseconds per packet.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH 32
#define ROUNDS 15
#define ROUND_NANOSECONDS 2.0e6

static const int SIZES[] = {64, 256, 512, 1024, 1420, 8192};
#define NUM_SIZES (sizeof SIZES / sizeof SIZES[0])

static double thread_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* `work` processes `packets` packets each time. */
static void measure(const char *who, const char *transform, const char *operation, int packets, int size,
                    void (*work)(void))
{
    double rounds[ROUNDS];
    long repeats = 0;
    const double start = thread_nanoseconds();
    do {
        work();
        repeats++;
    } while (thread_nanoseconds() - start < ROUND_NANOSECONDS);
    for (int round = 0; round < ROUNDS; round++) {
        const double begin = thread_nanoseconds();
        for (long i = 0; i < repeats; i++)
            work();
        rounds[round] = (thread_nanoseconds() - begin) / ((double)repeats * packets);
    }
    qsort(rounds, ROUNDS, sizeof rounds[0], ascending);
    printf("%s,%s,%s,%d,%d,%.1f,%.1f\n", who, transform, operation, packets, size, rounds[0], rounds[ROUNDS / 2]);
    fflush(stdout);
}

#endif
