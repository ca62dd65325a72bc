#ifndef G_IPSEC_LA_H
#define G_IPSEC_LA_H

/* Generated from the Rust sources; do not edit. */

/*
 * The Virtio-IPsec accelerator g-API: find an IPsec accelerator, open it, load
 * Security Associations and have packets encapsulated and decapsulated.
 * Link with -lgipsec (pkg-config gipsec). What the document leaves open, and
 * every extension, is in g_ipsec_la_ext.h, which programs written to the
 * document never need.
 *
 * Results. Every function returns 0 or a negative errno value; `result` fields
 * hold the same number. g_ipsec_la_ext_last_error() has a sentence more.
 *
 *   -EINVAL      NULL, unknown enum value or flag, contradictory lengths, SPI 0
 *   -EBADF       a handle that is forged, stale, closed or somebody else's
 *   -ENOENT      no such SA, group or next entry
 *   -ENODEV      no such accelerator, or it went away
 *   -EBUSY       mode conflict at open
 *   -ENOTSUP     the accelerator lacks that protocol, algorithm or feature
 *   -ENOSPC      a table is full
 *   -EAGAIN      the queue is full, or the system gave no thread: nothing was
 *                taken, call again
 *   -EMSGSIZE    the output does not fit (nothing is written) or exceeds 65,535 bytes
 *   -EPROTO      not an IP packet, truncated, a fragment, wrong SPI or protocol,
 *                corrupt compression, a WESP header that lies
 *   -ENOMSG      in UDP, but IKE's (non-ESP marker) or a NAT keepalive: not IPsec at all
 *   -EILSEQ      decrypted well, but the padding is wrong
 *   -ERANGE      sequence number 0 on an SA that checks replay
 *   -ESTALE      older than the anti-replay window
 *   -EALREADY    seen before
 *   -EBADMSG     the ICV does not match
 *   -EOVERFLOW   the outbound sequence number is used up
 *   -EKEYEXPIRED the hard lifetime is used up
 *   -EIO         the crypto library, the device or the library itself failed
 *
 * Threads. Every function may be called from any thread at any time, also from
 * the library's own callbacks; handles may be shared between threads. A call
 * that is running when its handle is closed ends undisturbed. After fork() only
 * the parent may use the library.
 *
 * Memory. A pointer that a function is given must be NULL or valid for its type
 * until the function returns; with G_IPSEC_LA_CTRL_FLAG_ASYNC `out` and all
 * packet buffers (the segment arrays included) until the callback is called.
 * The library keeps no other pointer of the caller's. Keys are copied and never
 * given back.
 *
 * Callbacks of asynchronous calls and notifications come from one thread of the
 * library for each accelerator, never from inside the call they answer, and
 * each exactly once. A callback may close its own handle, or any other, whose
 * remaining callbacks it then calls itself. It waits for those that other threads are
 * inside of, unless they wait in a close, too; they must not wait for its caller in
 * any other way. No signal is delivered in the library's threads.
 *
 * Asynchronous calls are processed as a whole, those of one SA in order. Between SAs the
 * DSCP of a call's first packet decides (outbound the inner one, inbound the outer one), in
 * four classes: LE and CS1; best effort; AF and CS2 to CS4; EF, VA, CS5 to CS7. A higher
 * class overtakes lower ones, but none waits for ever.
 *
 * Packets begin at the IP header. Input segments are read in order; output
 * segments are filled in order: `length` is the room on entry, and the bytes
 * written (0 when unused, and when the packet failed) on return. A call that is
 * refused as a whole (-EBADF, -EAGAIN and the like) leaves them as they were. What is in
 * a room beyond those bytes, and while the call lasts, is undefined. Input and output may
 * be the very same buffers, each described by a g_ipsec_la_data of its own (a
 * packet that is forged may then be overwritten with zeros); any other overlap
 * within a packet is -EINVAL, and
 * buffers of different packets of one call must not overlap at all. Packets must not be
 * changed while the call lasts. A packet has at most 1,024 segments.
 *
 * Compatibility. The shared library's SONAME is libgipsec.so.1 and its symbols
 * carry the version GIPSEC_1.0: a program linked with it runs with every later
 * libgipsec.so.1.
 */


#include <stdint.h>
/*
 * Types that need what a generator cannot express: two names for one
 * enumerator, bit-fields, anonymous unions. Target ABI: LP64, little endian.
 *
 * Byte order: SPI, ports, lengths and sequence numbers are in host order;
 * IPv4 addresses are in network order, as in struct in_addr; IPv6 addresses
 * are their 16 bytes.
 */

/* ---- Macros (document, chapter 10) ---- */

#define G_IPSEC_LA_HANDLE_SIZE 8
#define G_IPSEC_LA_GROUP_HANDLE_SIZE 8
#define G_IPSEC_LA_SA_HANDLE_SIZE 8

#define G_IPSEC_LA_SUCCESS 0
#define G_IPSEC_LA_FAILURE (-1) /* to compare with; calls return -errno */

#define G_IPSEC_LA_MAX_VERSION_LENGTH 32 /* bytes that g_ipsec_la_get_api_version may write */
#define G_IPSEC_LA_NAME_SIZE 16          /* an accelerator's name, with its NUL */
#define G_IPSEC_LA_IDENTITY_SIZE 64      /* an application's or group's name, with its NUL */

#define G_IPSEC_LA_PROTOCOL_ESP 50
#define G_IPSEC_LA_PROTOCOL_AH 51
#define G_IPSEC_LA_PROTOCOL_IPCOMP 108

#define G_IPSEC_LA_PCI_VENDOR_ID 0x1AF4
#define G_IPSEC_LA_PCI_DEVICE_ID 0x107E

/* Flags of g_ipsec_la_sa_get_inargs; 0 reads both. */
#define G_IPSEC_LA_SA_GET_INFORMATION 1
#define G_IPSEC_LA_SA_GET_STATISTICS 2

/* ---- Other spellings that the document uses for one type ---- */

#define g_ipsec_resp_args g_ipsec_la_resp_args
#define g_api_resp_args g_ipsec_la_resp_args
#define g_ipsec_la_api_resp_args g_ipsec_la_resp_args
#define g_ipsec_la_sa_mod_outargs g_ipsec_la_sa_modify_outargs
#define g_ipsec_sa_get_outargs g_ipsec_la_sa_get_outargs
#define g_ipsec_la_cap_get_outargs g_ipsec_cap_get_outargs
#define g_api_ipsec_nat_info g_ipsec_la_nat_traversal_info
#define g_api_ipsec_tunnel_end_addr g_ipsec_la_tunnel_end_addr
#define g_ipsec_la_autho_algo_cap g_ipsec_la_auth_algo_cap
#define g_ipsec_auth_alg g_ipsec_la_auth_alg
#define g_ipsec_sa_flags g_ipsec_la_sa_flags
#define g_ipsec_df_bit_handle g_ipsec_la_df_handle
#define g_ipsec_dscp_handle g_ipsec_la_dscp_handle
#define g_api_control_flags g_ipsec_la_control_flags
#define g_ipsec_la_api_control_flags g_ipsec_la_control_flags

/* ---- Enumerations (document, chapter 11) ---- */

/* How an accelerator is opened. */
typedef enum g_ipsec_la_mode {
  G_IPSEC_LA_INSTANCE_EXCLUSIVE = 1,
  G_IPSEC_LA_INSTANCE_SHARED = 2
} g_ipsec_la_mode;

/* How a call is answered; bits, 0 is a synchronous call. */
typedef enum g_ipsec_la_control_flags {
  G_IPSEC_LA_CTRL_FLAG_ASYNC = 1,
  G_IPSEC_LA_CTRL_FLAG_NO_RESP_EXPECTED = 2
} g_ipsec_la_control_flags;

/* Integrity algorithm. 0 is accepted and means none. */
typedef enum g_ipsec_la_auth_alg {
  G_IPSEC_LA_AUTH_ALG_NONE = 1,
  G_IPSEC_LA_AUTH_ALG_MD5_HMAC = 2,
  G_IPSEC_LA_AUTH_ALG_SHA1_HMAC = 3,
  G_IPSEC_LA_AUTH_AESXCBC = 4,
  G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC = 5,
  G_IPSEC_LA_AUTH_ALG_SHA2_384_HMAC = 6,
  G_IPSEC_LA_AUTH_ALG_SHA2_512_HMAC = 7,
  G_IPSEC_LA_AUTH_ALGO_NONE = 1,
  G_IPSEC_LA_AUTH_ALGO_MD5_HMAC = 2,
  G_IPSEC_LA_AUTH_ALGO_SHA1_HMAC = 3,
  G_IPSEC_LA_AUTH_ALG_AESXCBC = 4,
  G_IPSEC_LA_AUTH_ALGO_AESXCBC = 4,
  G_IPSEC_LA_AUTH_ALGO_SHA2_256_HMAC = 5,
  G_IPSEC_LA_AUTH_ALGO_SHA2_384_HMAC = 6,
  G_IPSEC_LA_AUTH_ALGO_SHA2_512_HMAC = 7
} g_ipsec_la_auth_alg;

/* Encryption algorithm. 0 is accepted and means none. */
typedef enum g_ipsec_la_cipher_alg {
  G_IPSEC_LA_CIPHER_ALGO_NULL = 1,
  G_IPSEC_LA_ALG_DES_CBC = 2,
  G_IPSEC_LA_ALG_3DES_CBC = 3,
  G_IPSEC_LA_ALG_AES_CBC = 4,
  G_IPSEC_LA_ALG_AES_CTR = 5,
  G_IPSEC_LA_CIPHER_ALG_NULL = 1,
  G_IPSEC_LA_ALGO_NULL = 1,
  G_IPSEC_LA_ALGO_DES_CBC = 2,
  G_IPSEC_LA_ALGO_3DES_CBC = 3,
  G_IPSEC_LA_ALGO_AES_CBC = 4,
  G_IPSEC_LA_ALGO_AES_CTR = 5
} g_ipsec_la_cipher_alg;

/* Combined mode algorithm. 0 means none. */
typedef enum g_ipsec_la_comb_alg {
  G_IPSEC_LA_COMB_AES_CCM = 1,
  G_IPSEC_LA_COMB_AES_GCM = 2,
  G_IPSEC_LA_COMB_AES_GMAC = 3
} g_ipsec_la_comb_alg;

/* IP compression algorithm (RFC 3173). 0 means none. */
typedef enum g_ipsec_la_ipcomp_alg {
  G_IPSEC_LA_IPCOMP_DEFLATE = 1,
  G_IPSEC_LA_IPCOMP_LZS = 2
} g_ipsec_la_ipcomp_alg;

/* DSCP of the outer header. 0 is copy. */
typedef enum g_ipsec_la_dscp_handle {
  G_IPSEC_DSCP_COPY = 1,
  G_IPSEC_DSCP_CLEAR = 2,
  G_IPSEC_DSCP_SET = 3,
  G_IPSEC_LA_DSCP_COPY = 1,
  G_IPSEC_LA_DSCP_CLEAR = 2,
  G_IPSEC_LA_DSCP_SET = 3
} g_ipsec_la_dscp_handle;

/* Don't Fragment bit of the outer IPv4 header. 0 is copy. */
typedef enum g_ipsec_la_df_handle {
  G_IPSEC_DF_COPY = 1,
  G_IPSEC_DF_CLEAR = 2,
  G_IPSEC_DF_SET = 3,
  G_IPSEC_LA_DF_COPY = 1,
  G_IPSEC_LA_DF_CLEAR = 2,
  G_IPSEC_LA_DF_SET = 3
} g_ipsec_la_df_handle;

/* Direction of a Security Association. */
typedef enum g_ipsec_la_sa_direction {
  G_IPSEC_LA_IPSEC_INBOUND = 0,
  G_IPSEC_LA_IPSEC_OUTBOUND = 1,
  G_IPSEC_LA_SA_INBOUND = 0,
  G_IPSEC_LA_SA_OUTBOUND = 1
} g_ipsec_la_sa_direction;

/* Flags of a Security Association; bits. */
typedef enum g_ipsec_la_sa_flags {
  G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL = 2,
  G_IPSEC_LA_SA_USE_ECN = 4,
  G_IPSEC_LA_SA_LIFETIME_IN_KB = 8,
  G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK = 16,
  G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE = 32,
  G_IPSEC_LA_SA_USE_ESN = 64,
  G_IPSEC_LA_SA_USE_IPv6 = 128,
  G_IPSEC_LA_NOTIFY_LIFETIME_KB_EXPIRY = 256,
  G_IPSEC_LA_NOTIFY_SEQNUM_OVERFLOW = 512,
  G_IPSEC_LA_NOTIFY_SEQNUM_PERIODIC = 1024
} g_ipsec_la_sa_flags;

/* Flags of an inbound Security Association; bits. */
typedef enum g_ipsec_la_inb_sa_flags {
  NF_IPSEC_INB_SA_PROPOGATE_ECN = 1,
  G_IPSEC_INB_SA_PROPOGATE_ECN = 1
} g_ipsec_la_inb_sa_flags;

/* What g_ipsec_la_sa_mod changes. */
typedef enum g_ipsec_la_sa_modify_flags {
  G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO = 1,
  G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO = 2,
  G_IPSEC_LA_SA_MODIFY_REPLAY_INFO = 3
} g_ipsec_la_sa_modify_flags;

/* Which fields of the replay information g_ipsec_la_sa_mod changes; bits. */
typedef enum g_ipsec_la_sa_modify_replay_info_flags {
  G_IPSEC_LA_SA_MODIFY_SEQ_NUM = 2,
  G_IPSEC_LA_SA_MODIFY_ANTI_REPLAY_WINDOW = 4
} g_ipsec_la_sa_modify_replay_info_flags;

/* Which SAs g_ipsec_la_sa_get reads. */
typedef enum g_ipsec_la_sa_get_op {
  G_IPSEC_LA_SA_GET_FIRST_N = 0,
  G_IPSEC_LA_SET_GET_NEXT_N = 1,
  G_IPSEC_LA_SA_GET_NEXT_N = 1,
  G_IPSEC_LA_SA_GET_EXACT = 2
} g_ipsec_la_sa_get_op;

/* Version of an IP address. */
typedef enum g_ip_version {
  G_IPSEC_LA_IPV4 = 4,
  G_IPSEC_LA_IPV6 = 6
} g_ip_version;

/* ---- Structures with bit-fields ---- */

/* Integrity algorithms of an accelerator. */
typedef struct g_ipsec_la_auth_algo_cap {
  uint32_t md5 : 1,
      sha1 : 1,
      sha2 : 1, /* 256, 384 and 512 bits */
      aes_xcbc : 1,
      none : 1,
      des : 1; /* always 0 */
} g_ipsec_la_auth_algo_cap;

/* Encryption algorithms of an accelerator. */
typedef struct g_ipsec_la_cipher_algo_cap {
  uint32_t des : 1,
      des_c : 1, /* 3DES */
      aes : 1,
      aes_ctr : 1,
      null : 1;
} g_ipsec_la_cipher_algo_cap;

/* Combined mode algorithms of an accelerator. */
typedef struct g_ipsec_la_comb_algo_cap {
  uint32_t aes_ccm : 1,
      aes_gcm : 1,
      aes_gmac : 1;
} g_ipsec_la_comb_algo_cap;

/* What an accelerator can do: a bit is set when, and only when, the feature works. */
typedef struct g_ipsec_la_capabilities {
  uint32_t sg_features : 1,
      ah_protocol : 1,
      esp_protocol : 1,
      wesp_protocol : 1,
      ipcomp_protocol : 1,
      multi_sec_protocol : 1, /* SA bundles */
      udp_encap : 1,
      esn : 1,
      tfc : 1,
      ecn : 1,
      df : 1,
      anti_replay_check : 1,
      ipv6_support : 1,
      soft_lifetime_bytes_notify : 1,
      seqnum_overflow_notify : 1,
      seqnum_periodic_notify : 1;
  uint8_t num_dscp_based_queues; /* classes of asynchronous work; 0: none */
  g_ipsec_la_auth_algo_cap auth_algo_caps;
  g_ipsec_la_cipher_algo_cap cipher_algo_caps;
  g_ipsec_la_comb_algo_cap comb_algo_caps;
} g_ipsec_la_capabilities;

/* ---- Structures with anonymous unions ---- */

/* An IP address. */
typedef struct g_ip_addr {
  enum g_ip_version version;
  __extension__ union {
    uint32_t ipv4; /* network byte order */
    union {
      uint8_t b_addr[16];
      uint32_t w_addr[4];
    } ipv6;
  };
} g_ip_addr;

/* Outer addresses of a tunnel. */
typedef struct g_ipsec_la_tunnel_end_addr {
  struct g_ip_addr src_ip;
  struct g_ip_addr dest_ip;
} g_ipsec_la_tunnel_end_addr;

/* UDP encapsulation (RFC 3948). */
typedef struct g_ipsec_la_nat_traversal_info {
  uint16_t dest_port;                /* host order */
  uint16_t src_port;                 /* host order */
  struct g_ip_addr nat_oa_peer_addr; /* the peer's original address, in transport mode */
} g_ipsec_la_nat_traversal_info;

/* Algorithms and keys; key lengths in bits. */
typedef struct g_ipsec_la_sa_crypto_params {
  enum g_ipsec_la_auth_alg auth_algo;
  uint8_t *auth_key;
  uint32_t auth_key_len_bits;
  enum g_ipsec_la_cipher_alg cipher_algo;
  uint8_t *cipher_key; /* AES-CTR: key, then the 4-byte nonce */
  uint32_t cipher_key_len_bits;
  enum g_ipsec_la_comb_alg comb_algo;
  uint8_t *comb_key; /* salt, then key */
  uint32_t comb_key_len_bits;
  uint8_t icv_len_bits; /* 0: the algorithm's usual length */
} g_ipsec_la_sa_crypto_params;

/* IP compression (RFC 3173). */
typedef struct g_ipsec_la_ipcomp_info {
  enum g_ipsec_la_ipcomp_alg algo;
  uint32_t cpi;
} g_ipsec_la_ipcomp_info;

/* A Security Association. */
typedef struct g_ipsec_la_sa {
  uint32_t spi;  /* host order */
  uint8_t proto; /* G_IPSEC_LA_PROTOCOL_... */
  enum g_ipsec_la_sa_flags cmn_flags;
  __extension__ union {
    struct {
      uint8_t dscp; /* 0 to 63, with G_IPSEC_DSCP_SET */
      enum g_ipsec_la_df_handle df_bit_handle;
      enum g_ipsec_la_dscp_handle dscp_handle;
      uint8_t *iv; /* the first packet's IV; NULL: drawn at random */
      uint8_t iv_len_bits;
    } outb;
    struct {
      enum g_ipsec_la_inb_sa_flags flags;
      uint8_t anti_replay_window_size; /* packets; 0: 64 */
    } inb;
  };
  struct g_ipsec_la_sa_crypto_params crypto_params;
  struct g_ipsec_la_ipcomp_info ipcomp_info;
  uint32_t soft_kilobytes_limit; /* 0: no limit */
  uint32_t hard_kilobytes_limit; /* 0: no limit */
  struct g_ipsec_la_nat_traversal_info nat_info;
  struct g_ipsec_la_tunnel_end_addr te_addr;
} g_ipsec_la_sa;

/* Accelerator and, when not all zero, group that a call is for. */
typedef struct g_ipsec_la_handle {
  uint32_t handle[G_IPSEC_LA_HANDLE_SIZE];
  uint32_t group_handle[G_IPSEC_LA_GROUP_HANDLE_SIZE];
} g_ipsec_la_handle;

/* One Security Association, or one bundle. */
typedef struct g_ipsec_la_sa_handle {
  uint32_t ipsec_sa_handle[G_IPSEC_LA_SA_HANDLE_SIZE];
} g_ipsec_la_sa_handle;

/* Answer of g_ipsec_la_sa_add. */
typedef struct g_ipsec_la_sa_add_outargs {
  int32_t result; /* 0, or -errno */
  __extension__ union {
    struct g_ipsec_la_handle handle; /* the SA handle is in its first 32 bytes */
    struct g_ipsec_la_sa_handle sa_handle;
  };
} g_ipsec_la_sa_add_outargs;

/* What g_ipsec_la_sa_mod changes in one SA. */
typedef struct g_ipsec_la_sa_mod_inargs {
  enum g_ipsec_la_sa_direction dir;
  struct g_ipsec_la_sa_handle *handle;
  enum g_ipsec_la_sa_modify_flags flags;
  __extension__ union {
    struct {
      uint16_t port; /* host order; 0 leaves the port */
      struct g_ip_addr addr;
    } addr_info;
    struct {
      enum g_ipsec_la_sa_modify_replay_info_flags flags;
      uint8_t anti_replay_window_size;
      uint32_t anti_replay_window_bit_map; /* bit i: seq_num - i was seen */
      uint32_t seq_num;
      uint32_t hi_seq_num;
    } replay;
  };
} g_ipsec_la_sa_mod_inargs;

/* Statistics of one SA. */
typedef struct g_ipsec_la_sa_stats {
  uint64_t packets_processed;
  uint64_t bytes_processed; /* payload bytes */
  struct {
    uint32_t invalid_ipsec_pkt;
    uint32_t invalid_pad_length;
    uint32_t invalid_seq_num;
    uint32_t anti_replay_late_pkt;
    uint32_t anti_replay_replay_pkt;
    uint32_t invalid_icv;
    uint32_t seq_num_over_flow;
    uint32_t crypto_op_failed;
  } protocol_violation_errors;
  struct {
    uint32_t no_tail_room;
    uint32_t submit_to_accl_failed;
  } process_errors;
} g_ipsec_la_sa_stats;


/**
 * Called when the accelerator behind a handle is gone. Runs on the library's callback thread, or inside
 * g_ipsec_la_ext_poll in poll mode; may call the library, g_ipsec_la_close included. `handle` is valid during the call.
 */
typedef void (*g_ipsec_la_instance_broken_cbk_fn)(struct g_ipsec_la_handle *handle,
                                                  void *cb_arg);

/**
 * Which accelerator to open, and for whom.
 */
typedef struct g_ipsec_la_open_inargs {
  /**
   * PCI vendor, 0 for any. Software accelerators have the vendor and device of the virtio-ipsec device.
   */
  uint16_t pci_vendor_id;
  /**
   * PCI device, 0 for any.
   */
  uint16_t device_id;
  /**
   * Name of the accelerator, NULL for the first that can serve the mode.
   */
  char *accl_name;
  /**
   * Name of the application, shorter than G_IPSEC_LA_IDENTITY_SIZE; may be NULL.
   */
  char *app_identity;
  /**
   * Called when the accelerator is gone; may be NULL.
   */
  g_ipsec_la_instance_broken_cbk_fn cb_fn;
  /**
   * Passed to `cb_fn` unread.
   */
  void *cb_arg;
  /**
   * Length of what `cb_arg` points at; unused.
   */
  int32_t cb_arg_len;
} g_ipsec_la_open_inargs;

/**
 * Where g_ipsec_la_open writes the handle.
 */
typedef struct g_ipsec_la_open_outargs {
  /**
   * The caller's storage for the handle.
   */
  struct g_ipsec_la_handle *handle;
} g_ipsec_la_open_outargs;

/**
 * Name of a new group.
 */
typedef struct g_ipsec_la_create_group_inargs {
  /**
   * NUL-terminated, shorter than G_IPSEC_LA_IDENTITY_SIZE; may be NULL.
   */
  char *group_identity;
} g_ipsec_la_create_group_inargs;

/**
 * Handle of a new group, to be copied to the `group_handle` of a g_ipsec_la_handle.
 */
typedef struct g_ipsec_la_create_group_outargs {
  /**
   * Opaque words.
   */
  uint32_t g_ipsec_la_group_handle[8];
} g_ipsec_la_create_group_outargs;

/**
 * Called once with the answer to an asynchronous call; `outargs` is the call's `out`, or the library's own when that
 * was NULL, and then valid during the call only.
 */
typedef void (*g_ipsec_la_resp_cbfn)(void *cb_arg,
                                     int32_t cb_arg_len,
                                     void *outargs);

/**
 * Whom to answer when a call is asynchronous.
 */
typedef struct g_ipsec_la_resp_args {
  /**
   * The function to call.
   */
  g_ipsec_la_resp_cbfn cbfn;
  /**
   * Passed to `cbfn` unread.
   */
  void *cb_arg;
  /**
   * Passed to `cbfn` unread.
   */
  int32_t cb_arg_len;
} g_ipsec_la_resp_args;

/**
 * Which entries of the list to read.
 */
typedef struct g_ipsec_la_available_list_get_inargs {
  /**
   * Number of the first, from 0.
   */
  uint32_t start;
  /**
   * Room in `entries`; 0 only counts.
   */
  uint32_t max_entries;
} g_ipsec_la_available_list_get_inargs;

/**
 * An accelerator that an open would get now.
 */
typedef struct g_ipsec_la_available_entry {
  /**
   * Its name.
   */
  char name[16];
  /**
   * Its number; never used for another accelerator.
   */
  uint32_t instance_id;
} g_ipsec_la_available_entry;

/**
 * Accelerators that an open would get now.
 */
typedef struct g_ipsec_la_available_list_get_outargs {
  /**
   * How many there are.
   */
  uint32_t total;
  /**
   * How many were written.
   */
  uint32_t num_entries;
  /**
   * The caller's array of `max_entries`.
   */
  struct g_ipsec_la_available_entry *entries;
} g_ipsec_la_available_list_get_outargs;

/**
 * Which entries of the list to read.
 */
typedef struct g_ipsec_la_active_list_get_inargs {
  /**
   * Number of the first, from 0.
   */
  uint32_t start;
  /**
   * Room in `entries`; 0 only counts.
   */
  uint32_t max_entries;
} g_ipsec_la_active_list_get_inargs;

/**
 * One group (or the SAs without a group) of one application on one accelerator. "In" counts decapsulated packets and
 * their payload bytes, "out" encapsulated ones.
 */
typedef struct g_ipsec_la_active_entry {
  /**
   * The accelerator's name.
   */
  char name[16];
  /**
   * The accelerator's number.
   */
  uint32_t instance_id;
  /**
   * How the application opened it.
   */
  enum g_ipsec_la_mode mode;
  /**
   * The application's name.
   */
  char app_identity[64];
  /**
   * The group's name; empty for the SAs without a group.
   */
  char group_identity[64];
  /**
   * Payload bytes decapsulated.
   */
  uint64_t bytes_in;
  /**
   * Payload bytes encapsulated.
   */
  uint64_t bytes_out;
  /**
   * Packets decapsulated.
   */
  uint64_t packets_in;
  /**
   * Packets encapsulated.
   */
  uint64_t packets_out;
  /**
   * SAs added so far.
   */
  uint64_t sas_created;
  /**
   * SAs deleted so far.
   */
  uint64_t sas_deleted;
  /**
   * Successful g_ipsec_la_sa_mod calls so far.
   */
  uint64_t sas_modified;
  /**
   * SAs there are now.
   */
  uint64_t active_sas;
} g_ipsec_la_active_entry;

/**
 * Groups with an open handle.
 */
typedef struct g_ipsec_la_active_list_get_outargs {
  /**
   * How many there are.
   */
  uint32_t total;
  /**
   * How many were written.
   */
  uint32_t num_entries;
  /**
   * The caller's array of `max_entries`.
   */
  struct g_ipsec_la_active_entry *entries;
} g_ipsec_la_active_list_get_outargs;

/**
 * Answer of g_ipsec_la_capabilities_get.
 */
typedef struct g_ipsec_cap_get_outargs {
  /**
   * The capabilities.
   */
  struct g_ipsec_la_capabilities caps;
} g_ipsec_cap_get_outargs;

/**
 * An SA's sequence numbers, at a notification.
 */
typedef struct g_ipsec_seq_number_notification {
  /**
   * The handle that the SA was added with.
   */
  struct g_ipsec_la_handle *handle;
  /**
   * The SA.
   */
  struct g_ipsec_la_sa_handle *sa_handle;
  /**
   * Low half of the last sequence number, host order.
   */
  uint32_t seq_num;
  /**
   * High half of the last sequence number; 0 without ESN.
   */
  uint32_t hi_seq_num;
} g_ipsec_seq_number_notification;

/**
 * Called before (by 2^20 numbers, unless changed) and at the end of an outbound SA's sequence numbers.
 */
typedef void (*g_ipsec_la_cbk_sa_seq_number_overflow_fn)(struct g_ipsec_la_handle handle,
                                                         struct g_ipsec_seq_number_notification *in);

/**
 * Called every 65,536 packets of an SA, unless changed.
 */
typedef void (*g_ipsec_la_cbk_sa_seq_number_periodic_update_fn)(struct g_ipsec_la_handle handle,
                                                                struct g_ipsec_seq_number_notification *in);

/**
 * An SA's lifetime, at the soft limit.
 */
typedef struct g_ipsec_la_lifetime_in_bytes_notification {
  /**
   * The SA.
   */
  struct g_ipsec_la_sa_handle sa_handle;
  /**
   * Kilobytes that have gone through the SA.
   */
  uint32_t ipsec_lifetime_in_kbytes;
} g_ipsec_la_lifetime_in_bytes_notification;

/**
 * Called once, when an SA reaches its soft lifetime.
 */
typedef void (*g_ipsec_la_cbk_sa_soft_lifetimeout_expiry_fn)(struct g_ipsec_la_handle handle,
                                                             struct g_ipsec_la_lifetime_in_bytes_notification *in);

/**
 * Functions to call for notifications. Each may be NULL; each also needs the SA's G_IPSEC_LA_NOTIFY_... flag.
 */
typedef struct g_ipsec_la_notification_hooks {
  /**
   * Sequence number overflow.
   */
  g_ipsec_la_cbk_sa_seq_number_overflow_fn seq_num_overflow_fn;
  /**
   * Periodic sequence number.
   */
  g_ipsec_la_cbk_sa_seq_number_periodic_update_fn seq_num_periodic_update_fn;
  /**
   * Soft lifetime.
   */
  g_ipsec_la_cbk_sa_soft_lifetimeout_expiry_fn soft_lifetimeout_expiry_fn;
} g_ipsec_la_notification_hooks;

/**
 * SAs to add: one, or the entries of a bundle, in the order in which outbound processing applies them.
 */
typedef struct g_ipsec_la_sa_add_inargs {
  /**
   * Direction of all of them.
   */
  enum g_ipsec_la_sa_direction dir;
  /**
   * How many.
   */
  uint8_t num_sas;
  /**
   * That many.
   */
  struct g_ipsec_la_sa *sa_params;
} g_ipsec_la_sa_add_inargs;

/**
 * Answer of g_ipsec_la_sa_mod.
 */
typedef struct g_ipsec_la_sa_modify_outargs {
  /**
   * 0, or -errno.
   */
  int32_t result;
} g_ipsec_la_sa_modify_outargs;

/**
 * Which SA to delete.
 */
typedef struct g_ipsec_la_sa_del_inargs {
  /**
   * Direction of the SA.
   */
  enum g_ipsec_la_sa_direction dir;
  /**
   * The SA.
   */
  struct g_ipsec_la_sa_handle *handle;
} g_ipsec_la_sa_del_inargs;

/**
 * Answer of g_ipsec_la_sa_del.
 */
typedef struct g_ipsec_la_sa_del_outargs {
  /**
   * 0, or -errno.
   */
  int32_t result;
} g_ipsec_la_sa_del_outargs;

/**
 * Which SAs to read.
 */
typedef struct g_ipsec_la_sa_get_inargs {
  /**
   * Direction of the SAs.
   */
  enum g_ipsec_la_sa_direction dir;
  /**
   * The SA to read, or the one before the first to read; unused for G_IPSEC_LA_SA_GET_FIRST_N.
   */
  struct g_ipsec_la_sa_handle *handle;
  /**
   * First, next or exact.
   */
  enum g_ipsec_la_sa_get_op operation;
  /**
   * How many.
   */
  uint32_t num_sas;
  /**
   * G_IPSEC_LA_SA_GET_INFORMATION, G_IPSEC_LA_SA_GET_STATISTICS; 0 for both.
   */
  uint32_t flags;
} g_ipsec_la_sa_get_inargs;

/**
 * Answer of g_ipsec_la_sa_get. Entries past the last SA are zero.
 */
typedef struct g_ipsec_la_sa_get_outargs {
  /**
   * 0, or -errno.
   */
  int32_t result;
  /**
   * The caller's array of `num_sas`, or NULL. Key pointers come back NULL.
   */
  struct g_ipsec_la_sa *sa_params;
  /**
   * The caller's array of `num_sas`, or NULL.
   */
  struct g_ipsec_la_sa_stats *stats;
  /**
   * NULL, or points at a pointer to the caller's storage, which receives the last SA's handle.
   */
  struct g_ipsec_la_sa_handle **handle;
} g_ipsec_la_sa_get_outargs;

/**
 * A piece of a packet.
 */
typedef struct g_ipsec_la_data {
  /**
   * Its first byte.
   */
  uint8_t *buffer;
  /**
   * Bytes to read; of an output, room on entry and bytes written on return.
   */
  uint32_t length;
} g_ipsec_la_data;

/**
 * A packet in pieces; the first begins at the IP header.
 */
typedef struct g_ipsec_la_packet {
  /**
   * How many pieces.
   */
  uint32_t num_sg;
  /**
   * That many.
   */
  struct g_ipsec_la_data *data;
} g_ipsec_la_packet;

/**
 * What the callback of an asynchronous packet call is given.
 */
typedef struct g_ipsec_la_packet_outargs {
  /**
   * 0, or the first failure.
   */
  int32_t result;
  /**
   * How many packets the call had.
   */
  uint32_t num_packets;
  /**
   * Each packet's own result.
   */
  const int32_t *results;
} g_ipsec_la_packet_outargs;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Writes the version of the API, "1.0", and a NUL; `version` has room for G_IPSEC_LA_MAX_VERSION_LENGTH bytes.
 */
int32_t g_ipsec_la_get_api_version(char *version);

/**
 * Opens an accelerator, exclusively or shared with other applications, and writes the handle to the storage that
 * `out->handle` points at. -ENODEV: none fits; -EBUSY: those that fit are open in a mode that conflicts.
 */
int32_t g_ipsec_la_open(enum g_ipsec_la_mode mode,
                        struct g_ipsec_la_open_inargs *in,
                        struct g_ipsec_la_open_outargs *out);

/**
 * Makes a group within an open accelerator. The new group handle goes into the `group_handle` of a g_ipsec_la_handle;
 * SAs that are added with it are reachable with it alone.
 */
int32_t g_ipsec_la_create_group(struct g_ipsec_la_handle *handle,
                                struct g_ipsec_la_create_group_inargs *in,
                                enum g_ipsec_la_control_flags flags,
                                struct g_ipsec_la_create_group_outargs *out,
                                struct g_ipsec_la_resp_args resp);

/**
 * Deletes the group that `handle` names with all of its SAs. Returns when everything pending has been called back.
 */
int32_t g_ipsec_la_delete_group(struct g_ipsec_la_handle *handle);

/**
 * Closes an open accelerator with all of its groups and SAs, whose keys are zeroised. Returns when everything pending
 * has been called back. Also for an accelerator that went away.
 */
int32_t g_ipsec_la_close(struct g_ipsec_la_handle *handle);

/**
 * Lists the accelerators that an open in some mode would get now.
 */
int32_t g_ipsec_la_available_list_get(const struct g_ipsec_la_available_list_get_inargs *in,
                                      struct g_ipsec_la_available_list_get_outargs *out);

/**
 * Lists what every group of every application does: a row for each, and one for the SAs that have no group.
 */
int32_t g_ipsec_la_active_list_get(const struct g_ipsec_la_active_list_get_inargs *in,
                                   struct g_ipsec_la_active_list_get_outargs *out);

/**
 * Another name of g_ipsec_la_available_list_get.
 */
int32_t g_ipsec_la_get_available_list(const struct g_ipsec_la_available_list_get_inargs *in,
                                      struct g_ipsec_la_available_list_get_outargs *out);

/**
 * Another name of g_ipsec_la_active_list_get.
 */
int32_t g_ipsec_la_get_active_list(const struct g_ipsec_la_active_list_get_inargs *in,
                                   struct g_ipsec_la_active_list_get_outargs *out);

/**
 * Says what the accelerator can do.
 */
int32_t g_ipsec_la_capabilities_get(struct g_ipsec_la_handle *handle,
                                    enum g_ipsec_la_control_flags flags,
                                    struct g_ipsec_cap_get_outargs *out,
                                    struct g_ipsec_la_resp_args *resp);

/**
 * Registers functions for the notifications of the SAs of this handle's group; with a handle without a group, of all
 * SAs whose group has registered none. Replaces what was registered.
 */
int32_t g_ipsec_la_notification_hooks_register(struct g_ipsec_la_handle handle,
                                               const struct g_ipsec_la_notification_hooks *in);

/**
 * Takes back what g_ipsec_la_notification_hooks_register registered. Notifications that wait may still be called.
 */
int32_t g_ipsec_la_notifications_hook_deregister(struct g_ipsec_la_handle handle);

/**
 * Another name of g_ipsec_la_capabilities_get.
 */
int32_t g_ipsec_la_get_capabilities(struct g_ipsec_la_handle *handle,
                                    enum g_ipsec_la_control_flags flags,
                                    struct g_ipsec_cap_get_outargs *out,
                                    struct g_ipsec_la_resp_args *resp);

/**
 * Adds an SA, or a bundle, which belongs to the group that `handle` names. Of a bundle (`num_sas` 2 to 4), outbound
 * processing applies the first entry first, and inbound processing undoes the last one first: IPComp only as entry 0, UDP
 * encapsulation only in the last one, no protocol and SPI twice, and no tunnels that run back to where one of them came
 * from. A packet that one entry refuses counts as processed by none. An IPComp entry takes its CPI from `ipcomp_info` (0:
 * the well-known one of the algorithm) and no SPI (0, or the CPI, which is what it has when it is read back).
 */
int32_t g_ipsec_la_sa_add(struct g_ipsec_la_handle *handle,
                          const struct g_ipsec_la_sa_add_inargs *in,
                          enum g_ipsec_la_control_flags flags,
                          struct g_ipsec_la_sa_add_outargs *out,
                          struct g_ipsec_la_resp_args resp);

/**
 * Changes an SA: the address and port of one end, or its replay information.
 *
 * Local is the source of an outbound SA and the destination of an inbound one; port 0 leaves the port. With
 * G_IPSEC_LA_SA_MODIFY_SEQ_NUM an outbound SA continues after the number, and an inbound one takes it as the highest
 * seen; which numbers before it were seen is what the bit map says when G_IPSEC_LA_SA_MODIFY_ANTI_REPLAY_WINDOW is set
 * too, and all of them otherwise. Of a bundle, the addresses and port of the outermost tunnel change, or the numbers of
 * the only entry that has some (-EINVAL when several have).
 */
int32_t g_ipsec_la_sa_mod(struct g_ipsec_la_handle *handle,
                          const struct g_ipsec_la_sa_mod_inargs *in,
                          enum g_ipsec_la_control_flags flags,
                          struct g_ipsec_la_sa_modify_outargs *out,
                          struct g_ipsec_la_resp_args resp);

/**
 * Deletes an SA. Packets that are being processed with it are finished; its keys are zeroised.
 */
int32_t g_ipsec_la_sa_del(struct g_ipsec_la_handle *handle,
                          const struct g_ipsec_la_sa_del_inargs *in,
                          enum g_ipsec_la_control_flags flags,
                          struct g_ipsec_la_sa_del_outargs *out,
                          struct g_ipsec_la_resp_args resp);

/**
 * Deletes all SAs of the group that `handle` names; without a group, those that have none. A callback gets NULL.
 */
int32_t g_ipsec_la_sa_flush(struct g_ipsec_la_handle *handle,
                            enum g_ipsec_la_control_flags flags,
                            struct g_ipsec_la_resp_args *resp);

/**
 * Reads SAs in the order in which they were added: information, statistics, or both. Keys are never given back.
 * A bundle is one row, of its entry 0; G_IPSEC_LA_SA_GET_EXACT reads an entry of it into each row. -ENOENT: there is
 * none.
 */
int32_t g_ipsec_la_sa_get(struct g_ipsec_la_handle *handle,
                          const struct g_ipsec_la_sa_get_inargs *in,
                          enum g_ipsec_la_control_flags flags,
                          struct g_ipsec_la_sa_get_outargs *out,
                          struct g_ipsec_la_resp_args *resp);

/**
 * Another name of g_ipsec_la_sa_mod.
 */
int32_t g_ipsec_la_sa_modify(struct g_ipsec_la_handle *handle,
                             const struct g_ipsec_la_sa_mod_inargs *in,
                             enum g_ipsec_la_control_flags flags,
                             struct g_ipsec_la_sa_modify_outargs *out,
                             struct g_ipsec_la_resp_args resp);

/**
 * Another name of g_ipsec_la_sa_del.
 */
int32_t g_ipsec_la_sa_delete(struct g_ipsec_la_handle *handle,
                             const struct g_ipsec_la_sa_del_inargs *in,
                             enum g_ipsec_la_control_flags flags,
                             struct g_ipsec_la_sa_del_outargs *out,
                             struct g_ipsec_la_resp_args resp);

/**
 * Encapsulates one packet in `num_sg_elem` pieces; the result goes into as many pieces of `out_data`.
 */
int32_t g_ipsec_la_packet_encap(struct g_ipsec_la_handle *handle,
                                enum g_ipsec_la_control_flags flags,
                                struct g_ipsec_la_sa_handle *sa_handle,
                                uint32_t num_sg_elem,
                                struct g_ipsec_la_data *in_data,
                                struct g_ipsec_la_data *out_data,
                                struct g_ipsec_la_resp_args resp);

/**
 * Decapsulates one packet in `num_sg_elem` pieces; the result goes into as many pieces of `out_data`. A dummy packet
 * (RFC 4303 section 2.6) is no error and has no bytes.
 */
int32_t g_ipsec_la_packet_decap(struct g_ipsec_la_handle *handle,
                                enum g_ipsec_la_control_flags flags,
                                struct g_ipsec_la_sa_handle *sa_handle,
                                uint32_t num_sg_elem,
                                struct g_ipsec_la_data *in_data,
                                struct g_ipsec_la_data *out_data,
                                struct g_ipsec_la_resp_args resp);

/**
 * Encapsulates `num_packets` packets, at most 65,536, in order. All are processed; the result is the first failure.
 */
int32_t g_ipsec_la_multi_packet_encap(struct g_ipsec_la_handle *handle,
                                      enum g_ipsec_la_control_flags flags,
                                      struct g_ipsec_la_sa_handle *sa_handle,
                                      uint32_t num_packets,
                                      struct g_ipsec_la_packet *in_packets,
                                      struct g_ipsec_la_packet *out_packets,
                                      struct g_ipsec_la_resp_args resp);

/**
 * Decapsulates `num_packets` packets, at most 65,536, in order. All are processed; the result is the first failure.
 */
int32_t g_ipsec_la_multi_packet_decap(struct g_ipsec_la_handle *handle,
                                      enum g_ipsec_la_control_flags flags,
                                      struct g_ipsec_la_sa_handle *sa_handle,
                                      uint32_t num_packets,
                                      struct g_ipsec_la_packet *in_packets,
                                      struct g_ipsec_la_packet *out_packets,
                                      struct g_ipsec_la_resp_args resp);

/**
 * Another name of g_ipsec_la_packet_encap.
 */
int32_t g_ipsec_la_encap_packet(struct g_ipsec_la_handle *handle,
                                enum g_ipsec_la_control_flags flags,
                                struct g_ipsec_la_sa_handle *sa_handle,
                                uint32_t num_sg_elem,
                                struct g_ipsec_la_data *in_data,
                                struct g_ipsec_la_data *out_data,
                                struct g_ipsec_la_resp_args resp);

/**
 * Another name of g_ipsec_la_packet_decap.
 */
int32_t g_ipsec_la_decap_packet(struct g_ipsec_la_handle *handle,
                                enum g_ipsec_la_control_flags flags,
                                struct g_ipsec_la_sa_handle *sa_handle,
                                uint32_t num_sg_elem,
                                struct g_ipsec_la_data *in_data,
                                struct g_ipsec_la_data *out_data,
                                struct g_ipsec_la_resp_args resp);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif /* G_IPSEC_LA_H */
