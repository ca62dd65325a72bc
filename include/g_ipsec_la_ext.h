#ifndef G_IPSEC_LA_EXT_H
#define G_IPSEC_LA_EXT_H

/* Generated from the Rust sources; do not edit. */

/*
 * Extensions of libgipsec to the Virtio-IPsec accelerator g-API: what the
 * document promises and gives no field. Every name begins g_ipsec_la_ext_ or
 * G_IPSEC_LA_EXT_. Results, threads and memory are as in g_ipsec_la.h.
 */


#include <stdint.h>
#include "g_ipsec_la.h"

/**
 * A `proto` of an SA: ESP, wrapped so that what is on the way can tell whether it is encrypted (RFC 5840).
 */
#define G_IPSEC_LA_EXT_PROTOCOL_WESP 141

/**
 * An `auth_algo` of the options: AES-CMAC-96 (RFC 4494), with an `auth_key` of 128 bits.
 */
#define G_IPSEC_LA_EXT_AUTH_AES_CMAC 1

/**
 * A `comb_algo` of the options: ChaCha20-Poly1305 (RFC 7634), with a `comb_key` of 288 bits: the salt of 4 bytes, then the
 * key.
 */
#define G_IPSEC_LA_EXT_COMB_CHACHA20_POLY1305 1

/**
 * A flag of the options: the IV is the sequence number, and not sent (RFC 8750). With AES-GCM, AES-CCM and
 * ChaCha20-Poly1305. The sequence number of such an outbound SA is never set back.
 */
#define G_IPSEC_LA_EXT_SA_IMPLICIT_IV 1

/**
 * A flag of the options, outbound: an outer IPv6 header has the flow label of an inner one; else it has 0.
 */
#define G_IPSEC_LA_EXT_SA_COPY_FLOW_LABEL 2

/**
 * A flag of the options, inbound in tunnel mode: packets whose outer addresses are not those of `te_addr` are refused.
 */
#define G_IPSEC_LA_EXT_SA_CHECK_OUTER 4

/**
 * A flag of the options: asynchronous packet calls may be processed, and called back, in any order, and at once on all
 * of the library's threads. A bundle takes it from any of its entries.
 */
#define G_IPSEC_LA_EXT_SA_ANY_ORDER 8

/**
 * What can be said of a new SA beyond the document. Zero everywhere but in `size` is what g_ipsec_la_sa_add does. What is
 * said of one direction is ignored in the other. g_ipsec_la_sa_get reads back what the document has fields for, and so
 * nothing of this but windows up to 255 packets and ICVs up to 255 bits.
 */
typedef struct g_ipsec_la_ext_sa_options {
  /**
   * sizeof(struct g_ipsec_la_ext_sa_options): later versions of the structure are longer, and this one stays valid.
   */
  uint32_t size;
  /**
   * Anti-replay window in packets, up to 65,536; 0: as the SA says.
   */
  uint32_t anti_replay_window_size;
  /**
   * How many sequence numbers are left at the first overflow notification; 0: 2^20.
   */
  uint64_t seq_num_overflow_margin;
  /**
   * Packets between periodic notifications; 0: 65,536.
   */
  uint64_t seq_num_periodic_interval;
  /**
   * Bits of G_IPSEC_LA_EXT_SA_...
   */
  uint32_t flags;
  /**
   * 0, or a G_IPSEC_LA_EXT_AUTH_..., with 0 in the SA.
   */
  uint32_t auth_algo;
  /**
   * 0, or a G_IPSEC_LA_EXT_COMB_..., with 0 in the SA.
   */
  uint32_t comb_algo;
  /**
   * Length of the ICV in bits, also where the SA's field is too narrow for it; 0: as the SA says. HMAC-SHA2 of any
   * length takes 96, for peers from before RFC 4868, and its full length.
   */
  uint32_t icv_len_bits;
  /**
   * Traffic flow confidentiality (RFC 4303 section 2.7), outbound ESP in tunnel mode: payloads are padded to this many
   * bytes, up to 65,535; 0: they are not.
   */
  uint32_t tfc_pad_to;
  /**
   * The same: payloads that are longer are padded to a multiple of this many bytes, up to 65,535; 0: they are not.
   */
  uint32_t tfc_pad_multiple;
} g_ipsec_la_ext_sa_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What was wrong with this thread's last call that failed, as a sentence; empty when none did. Valid until this
 * function is called again by the same thread.
 */
const char *g_ipsec_la_ext_last_error(void);

/**
 * As g_ipsec_la_sa_add, with options: an array of as many as `in` has SAs, all of one `size`.
 */
int32_t g_ipsec_la_ext_sa_add(g_ipsec_la_handle *handle,
                              const g_ipsec_la_sa_add_inargs *in,
                              const struct g_ipsec_la_ext_sa_options *options,
                              enum g_ipsec_la_control_flags flags,
                              g_ipsec_la_sa_add_outargs *out,
                              g_ipsec_la_resp_args resp);

/**
 * As g_ipsec_la_multi_packet_encap; a synchronous call also writes each packet's result to `results` (NULL: nowhere).
 */
int32_t g_ipsec_la_ext_multi_packet_encap(g_ipsec_la_handle *handle,
                                          enum g_ipsec_la_control_flags flags,
                                          g_ipsec_la_sa_handle *sa_handle,
                                          uint32_t num_packets,
                                          g_ipsec_la_packet *in_packets,
                                          g_ipsec_la_packet *out_packets,
                                          int32_t *results,
                                          g_ipsec_la_resp_args resp);

/**
 * As g_ipsec_la_multi_packet_decap; a synchronous call also writes each packet's result to `results` (NULL: nowhere).
 */
int32_t g_ipsec_la_ext_multi_packet_decap(g_ipsec_la_handle *handle,
                                          enum g_ipsec_la_control_flags flags,
                                          g_ipsec_la_sa_handle *sa_handle,
                                          uint32_t num_packets,
                                          g_ipsec_la_packet *in_packets,
                                          g_ipsec_la_packet *out_packets,
                                          int32_t *results,
                                          g_ipsec_la_resp_args resp);

/**
 * Adds a software accelerator. `name` has 1 to 15 bytes and is not taken; `instance_id`, unless NULL, receives its
 * number.
 */
int32_t g_ipsec_la_ext_soft_accelerator_add(const char *name,
                                            uint32_t *instance_id);

/**
 * Removes a software accelerator: every handle's broken-instance callback is called once, and every later call on such
 * a handle but g_ipsec_la_close is -ENODEV.
 */
int32_t g_ipsec_la_ext_soft_accelerator_remove(const char *name);

/**
 * From now on this handle's callbacks, those of its groups included, run inside g_ipsec_la_ext_poll. `event_fd`
 * receives a descriptor that is readable while some wait; it is the library's, for poll(2) alone, and valid until the
 * handle is closed. It may be readable while none wait, until g_ipsec_la_ext_poll has returned 0. Calls that are in flight
 * may still be called back by the library's thread. With a device, asynchronous packet calls go there without another
 * thread, and what it has no room for yet follows inside of g_ipsec_la_ext_poll and of further calls.
 */
int32_t g_ipsec_la_ext_poll_mode_enter(g_ipsec_la_handle *handle,
                                       int32_t *event_fd);

/**
 * Calls up to `max_callbacks` callbacks that wait; returns how many, or a negative errno. -EINVAL: the handle is not in
 * poll mode.
 */
int32_t g_ipsec_la_ext_poll(g_ipsec_la_handle *handle,
                            uint32_t max_callbacks);

/**
 * The name of a reason for which packets are refused, such as "replayed": numbers from 0, each with one meaning for ever.
 * NULL: there are no more.
 */
const char *g_ipsec_la_ext_drop_reason_name(uint32_t reason);

/**
 * Reads how many packets an SA has refused for each reason: `counts` has `max_counts` entries, in the order of
 * g_ipsec_la_ext_drop_reason_name. `entry` is that of a bundle, and 0 for a single SA. The counters only ever grow, and no
 * packet that is refused meanwhile is lost. Returns how many reasons there are, or a negative errno.
 */
int32_t g_ipsec_la_ext_sa_drops_get(g_ipsec_la_handle *handle,
                                    enum g_ipsec_la_sa_direction dir,
                                    g_ipsec_la_sa_handle *sa_handle,
                                    uint32_t entry,
                                    uint64_t *counts,
                                    uint32_t max_counts);

/**
 * Makes a dummy packet (RFC 4303 section 2.6), which the receiver drops without an error: as long as one that carries a
 * packet of `length` bytes, 20 to 65,535; of a bundle, in its first entry that is ESP in tunnel mode. It takes a sequence
 * number. `out_data` is as for g_ipsec_la_packet_encap. -EINVAL: there is no outbound ESP in tunnel mode.
 */
int32_t g_ipsec_la_ext_dummy_packet(g_ipsec_la_handle *handle,
                                    g_ipsec_la_sa_handle *sa_handle,
                                    uint32_t length,
                                    uint32_t num_sg_elem,
                                    g_ipsec_la_data *out_data);

/**
 * The length of the largest packet that an outbound SA, or bundle, encapsulates to at most `outer_mtu` bytes now: what the
 * path MTU means to those behind the tunnel. In transport mode, of a packet without IPv4 options or IPv6 extension
 * headers. -EMSGSIZE: there is none.
 */
int32_t g_ipsec_la_ext_inner_mtu(g_ipsec_la_handle *handle,
                                 g_ipsec_la_sa_handle *sa_handle,
                                 uint32_t outer_mtu);

/**
 * Allocates `size` bytes, 1 to 2^30, for packets, and writes their address, a multiple of 8, to `buffer`. Packets in it, and
 * results for it, reach a device that `handle` has open without being copied; with the software accelerator it is memory
 * like any other. It can be used with every handle, stays valid when the handle is closed or its device is lost, and is
 * given back with g_ipsec_la_ext_buffer_free. Its bytes are zero at first. The device can read and write it at any time: it
 * is for packets. When the memory that is shared with the device is used up, the buffer is memory like any other.
 */
int32_t g_ipsec_la_ext_buffer_alloc(g_ipsec_la_handle *handle,
                                    uint32_t size,
                                    uint8_t **buffer);

/**
 * Gives a buffer of g_ipsec_la_ext_buffer_alloc back; NULL is none. No call may be using it. -EINVAL: it is not one, or was
 * given back.
 */
int32_t g_ipsec_la_ext_buffer_free(uint8_t *buffer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif /* G_IPSEC_LA_EXT_H */
