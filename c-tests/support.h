/*
 * What the tests share: an open accelerator, a table of algorithms, Security Associations, packets. Nothing here is a
 * check of its own, except that a helper which cannot do its job fails the test.
 */
#ifndef GIPSEC_TESTS_SUPPORT_H
#define GIPSEC_TESTS_SUPPORT_H

#include <g_ipsec_la.h>
#include <g_ipsec_la_ext.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* C++ does not turn a number into an enum by itself. */
#define CTRL(bits) ((enum g_ipsec_la_control_flags)(bits))
#define SYNC CTRL(0)
#define ASYNC CTRL(G_IPSEC_LA_CTRL_FLAG_ASYNC)
#define FORGET CTRL(G_IPSEC_LA_CTRL_FLAG_ASYNC | G_IPSEC_LA_CTRL_FLAG_NO_RESP_EXPECTED)
#define SA_FLAGS(bits) ((enum g_ipsec_la_sa_flags)(bits))

#define INBOUND G_IPSEC_LA_IPSEC_INBOUND
#define OUTBOUND G_IPSEC_LA_IPSEC_OUTBOUND

enum { MAX_PACKET = 65535, ROOM = 65536 };

extern const struct g_ipsec_la_resp_args no_response;

/* The answer to an asynchronous call: `cbfn` is called with `cb_arg`. */
struct g_ipsec_la_resp_args respond(g_ipsec_la_resp_cbfn cbfn, void *cb_arg);

/* Waits until *counter, which callbacks count up, is at least `target`; fails the test after 30 seconds. */
void wait_for(const int *counter, int target, const char *what);
void sleep_ms(int milliseconds);
double seconds_now(void);

/* `full` normally, much less under valgrind, where GIPSEC_TEST_SMALL is set. */
unsigned loops(unsigned full, unsigned small_number);

/* Reproducible random numbers. */
uint32_t random_number(void);
void random_bytes(uint8_t *to, size_t length);

/* ---- accelerators ---- */

struct g_ipsec_la_handle open_shared(const char *application);
int32_t open_named(enum g_ipsec_la_mode mode, const char *accelerator, const char *application,
                   struct g_ipsec_la_handle *handle);
void close_all(struct g_ipsec_la_handle *handle);

/* ---- Security Associations ---- */

struct algorithm {
    const char *name;
    uint8_t proto;
    enum g_ipsec_la_cipher_alg cipher;
    uint32_t cipher_bits;
    enum g_ipsec_la_auth_alg auth;
    uint32_t auth_bits;
    enum g_ipsec_la_comb_alg comb;
    uint32_t comb_bits;
    uint8_t icv_bits; /* 0: the usual one */
};

/* Every cipher, key length, integrity algorithm and ICV length of R18, for ESP and AH. */
extern const struct algorithm algorithms[];
extern const unsigned algorithm_count;

/* A tunnel SA from 198.51.100.1 to 198.51.100.2 with that algorithm and this process's fixed keys. */
struct g_ipsec_la_sa make_sa(const struct algorithm *algorithm, uint32_t spi);
/* One with AES-128-GCM. */
struct g_ipsec_la_sa gcm_sa(uint32_t spi);
void tunnel_v6(struct g_ipsec_la_sa *sa);
struct g_ip_addr address_v4(const char *text);
struct g_ip_addr address_v6(const char *text);

int32_t try_sa(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction, const struct g_ipsec_la_sa *sa,
               struct g_ipsec_la_sa_handle *sa_handle);
struct g_ipsec_la_sa_handle add_sa(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                                   const struct g_ipsec_la_sa *sa);
/* The same of `count` entries, with `options`, an array of as many, unless it is NULL. */
int32_t try_bundle(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                   const struct g_ipsec_la_sa *sas, unsigned count, const struct g_ipsec_la_ext_sa_options *options,
                   struct g_ipsec_la_sa_handle *sa_handle);
struct g_ipsec_la_sa_handle add_bundle(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                                       const struct g_ipsec_la_sa *sas, unsigned count,
                                       const struct g_ipsec_la_ext_sa_options *options);
/* Options that say nothing. */
struct g_ipsec_la_ext_sa_options no_options(void);
int32_t del_sa(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
               struct g_ipsec_la_sa_handle sa_handle);
struct g_ipsec_la_sa_stats statistics(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                                      struct g_ipsec_la_sa_handle sa_handle);
/* The sum of all error counters. */
uint64_t errors_counted(const struct g_ipsec_la_sa_stats *stats);
/* Packets that an entry refused for the reason of that name, or, with NULL, for any. */
uint64_t dropped(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                 struct g_ipsec_la_sa_handle sa_handle, uint32_t entry, const char *name);
/* Sets the number after which an outbound SA goes on. */
int32_t set_sequence(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                     struct g_ipsec_la_sa_handle sa_handle, uint32_t high, uint32_t low);

/* ---- packets ---- */

/* Writes an IP packet of `length` bytes in all, the header included: UDP with random payload when there is room for it.
 */
void make_packet_v4(uint8_t *packet, uint32_t length);
void make_packet_v6(uint8_t *packet, uint32_t length);

/* One packet in one segment. The room of the output is `capacity`; *length is what came out. */
int32_t encap(struct g_ipsec_la_handle *handle, struct g_ipsec_la_sa_handle sa, const uint8_t *packet,
              uint32_t packet_length, uint8_t *output, uint32_t capacity, uint32_t *length);
int32_t decap(struct g_ipsec_la_handle *handle, struct g_ipsec_la_sa_handle sa, const uint8_t *packet,
              uint32_t packet_length, uint8_t *output, uint32_t capacity, uint32_t *length);

/* The sum of RFC 1071, which is 0xffff over what has a right checksum; `sum` is what came before. */
uint32_t internet_sum(const uint8_t *from, uint32_t count, uint32_t sum);
/* Writes the checksum of an IPv4 header; does nothing to IPv6. */
void fix_header(uint8_t *ip);
uint32_t read_u32(const uint8_t *from);
/* Where the ESP or AH header of a packet made by this library begins. */
uint32_t ipsec_offset(const uint8_t *packet, int in_udp);
/* The ESP or AH sequence number of a packet. */
uint32_t sequence_of(const uint8_t *packet, uint8_t proto);

#ifdef __cplusplus
}
#endif
#endif
