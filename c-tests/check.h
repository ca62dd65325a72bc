/*
 * The test harness, all of it. A check that fails says where, what and with which numbers, and ends the program with a
 * status other than 0. Compiles as C11 and as C++17.
 */
#ifndef GIPSEC_TESTS_CHECK_H
#define GIPSEC_TESTS_CHECK_H

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
#define STATIC_ASSERT(condition) static_assert(condition, #condition)
#else
#define STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#endif

/* "-EINVAL" for -22: what R20 calls a result, and -ENOMSG, for what is not IPsec at all. */
static inline const char *errno_name(long long result) {
    switch (-result) {
    case 0: return "0";
#define NAME(name) case name: return "-" #name
        NAME(EINVAL); NAME(EBADF); NAME(ENOENT); NAME(ENODEV); NAME(EBUSY); NAME(ENOTSUP); NAME(ENOSPC); NAME(EAGAIN);
        NAME(EMSGSIZE); NAME(EPROTO); NAME(EILSEQ); NAME(ERANGE); NAME(ESTALE); NAME(EALREADY); NAME(EBADMSG);
        NAME(EOVERFLOW); NAME(EKEYEXPIRED); NAME(EIO); NAME(ENOMSG);
#undef NAME
    default: return "not a result";
    }
}

/* What the test is busy with, printed with a failure: set it in loops. */
static const char *check_context = "";

#define FAIL_AT(...)                                               \
    do {                                                           \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);            \
        fprintf(stderr, __VA_ARGS__);                              \
        if (*check_context != '\0')                                \
            fprintf(stderr, " [%s]", check_context);               \
        fprintf(stderr, "\n");                                     \
        exit(EXIT_FAILURE);                                        \
    } while (0)

#define CHECK(condition)                              \
    do {                                              \
        if (!(condition)) FAIL_AT("%s", #condition);  \
    } while (0)

#define CHECK_EQ(actual, expected)                                                                             \
    do {                                                                                                       \
        long long check_a = (long long)(actual), check_e = (long long)(expected);                              \
        if (check_a != check_e) FAIL_AT("%s is %lld, not %s (%lld)", #actual, check_a, #expected, check_e);    \
    } while (0)

/* Checks a result of the library: 0 or a negative errno. */
#define CHECK_RESULT(call, expected)                                                                           \
    do {                                                                                                       \
        long long check_a = (call), check_e = (expected);                                                      \
        if (check_a != check_e)                                                                                \
            FAIL_AT("%s is %s (%lld), not %s", #call, errno_name(check_a), check_a, errno_name(check_e));      \
    } while (0)

#define CHECK_OK(call) CHECK_RESULT(call, 0)

#define CHECK_BYTES(actual, expected, length)                                                                  \
    do {                                                                                                       \
        const uint8_t *check_a = (const uint8_t *)(actual), *check_e = (const uint8_t *)(expected);            \
        size_t check_n = (length), check_i = 0;                                                                \
        while (check_i < check_n && check_a[check_i] == check_e[check_i]) check_i++;                           \
        if (check_i != check_n)                                                                                \
            FAIL_AT("%s differs from %s at byte %zu of %zu: %02x, not %02x", #actual, #expected, check_i,      \
                    check_n, check_a[check_i], check_e[check_i]);                                              \
    } while (0)

#endif
