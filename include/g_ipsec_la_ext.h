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
 * What can be said of a new SA beyond the document. Zero everywhere but in `size` is what g_ipsec_la_sa_add does.
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
 * As g_ipsec_la_sa_add, with options.
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
 * handle is closed. Calls that are in flight may still be called back by the library's thread.
 */
int32_t g_ipsec_la_ext_poll_mode_enter(g_ipsec_la_handle *handle,
                                       int32_t *event_fd);

/**
 * Calls up to `max_callbacks` callbacks that wait; returns how many, or a negative errno. -EINVAL: the handle is not in
 * poll mode.
 */
int32_t g_ipsec_la_ext_poll(g_ipsec_la_handle *handle,
                            uint32_t max_callbacks);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif /* G_IPSEC_LA_EXT_H */
