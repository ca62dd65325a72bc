/*
 * How everything is measured: 32 packets at a time, in one call or in 32, and what has to be made ready for them without
 * the time for it. Each line is "who,transform,operation,packets in a call,size,minimum,median", with times in nanoseconds
 * a packet; minimum and median are those of several rounds, and a round's time is the median of what 32 packets took in it,
 * so that an interrupt during some of them changes nothing.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH 32
#define ROUNDS 9
#define ROUND_NANOSECONDS 1.0e6
#define MOST_SAMPLES 1000
#define LEAST_SAMPLES 5

/* Of packets before encapsulation. */
static const int SIZES[] = {64, 256, 512, 1024, 1420, 8192};
#define NUM_SIZES (sizeof SIZES / sizeof SIZES[0])

/* What of such a packet is encrypted in tunnel mode: with two bytes of trailer, padded to 4 or 16 bytes. */
static inline int gcm_body(int size)
{
    return (size + 2 + 3) / 4 * 4;
}

static inline int cbc_body(int size)
{
    return (size + 2 + 15) / 16 * 16;
}

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static inline int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static inline double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof values[0], ascending);
    return values[count / 2];
}

/* What asking for the time takes, to be left out of what was measured. */
static inline double clock_overhead(void)
{
    double samples[MOST_SAMPLES];
    for (int i = 0; i < MOST_SAMPLES; i++) {
        const double begin = now();
        samples[i] = now() - begin;
    }
    return median(samples, MOST_SAMPLES);
}

/* `work` processes BATCH packets, which `prepare` made ready. */
static inline void measure(const char *who, const char *transform, const char *operation, int per_call, int size,
                           void (*prepare)(void), void (*work)(void))
{
    double rounds[ROUNDS], samples[MOST_SAMPLES];
    const double overhead = clock_overhead();
    /* Round -1 warms up. */
    for (int round = -1; round < ROUNDS; round++) {
        double total = 0;
        int count = 0;
        while (count < MOST_SAMPLES && (count < LEAST_SAMPLES || total < ROUND_NANOSECONDS)) {
            prepare();
            const double begin = now();
            work();
            samples[count] = now() - begin;
            total += samples[count++];
        }
        if (round >= 0)
            rounds[round] = (median(samples, count) - overhead) / BATCH;
    }
    const double middle = median(rounds, ROUNDS);
    printf("%s,%s,%s,%d,%d,%.1f,%.1f\n", who, transform, operation, per_call, size, rounds[0], middle);
    fflush(stdout);
}

#endif
