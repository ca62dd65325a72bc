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
