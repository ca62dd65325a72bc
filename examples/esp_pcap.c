/*
 * A small network function: takes the IP packets of a capture through an IPsec tunnel and back.
 *
 *     cc -O2 esp_pcap.c $(pkg-config --cflags --libs gipsec) -lpcap -o esp_pcap
 *     ./esp_pcap -a aes256gcm16 -w esp.pcap capture.pcap
 *
 * Every packet is encapsulated in batches, as a packet-processing loop does it, and decapsulated again; the exit status
 * is 0 when every one came back byte for byte. `-k` prints the SA the way tshark wants it (tshark -o "uat:esp_sa:...").
 */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <g_ipsec_la.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, ROOM = 65536, SPI = 0x1001 };

static const struct algorithm {
    const char *name;
    enum g_ipsec_la_cipher_alg cipher;
    uint32_t cipher_bits;
    enum g_ipsec_la_auth_alg auth;
    uint32_t auth_bits;
    enum g_ipsec_la_comb_alg comb;
    uint32_t comb_bits;                       /* salt and key */
    const char *tshark_cipher, *tshark_auth; /* NULL: tshark does not know it */
} algorithms[] = {
#define GCM(bits) 0, 0, 0, 0, G_IPSEC_LA_COMB_AES_GCM, bits, "AES-GCM with 16 octet ICV [RFC4106]", "NULL"
#define AES_CBC G_IPSEC_LA_ALG_AES_CBC
#define SHA1 G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 160, 0, 0
#define SHA256 G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC, 256, 0, 0
#define SHA512 G_IPSEC_LA_AUTH_ALG_SHA2_512_HMAC, 512, 0, 0
#define TSHARK_CBC "AES-CBC [RFC3602]"
#define TSHARK_SHA1 "HMAC-SHA-1-96 [RFC2404]"
#define TSHARK_SHA256 "HMAC-SHA-256-128 [RFC4868]"
    {"aes128gcm16", GCM(32 + 128)},
    {"aes192gcm16", GCM(32 + 192)},
    {"aes256gcm16", GCM(32 + 256)},
    {"aes128ccm16", 0, 0, 0, 0, G_IPSEC_LA_COMB_AES_CCM, 24 + 128, NULL, NULL},
    {"aes128cbc-sha1", AES_CBC, 128, SHA1, TSHARK_CBC, TSHARK_SHA1},
    {"aes128cbc-sha256", AES_CBC, 128, SHA256, TSHARK_CBC, TSHARK_SHA256},
    {"aes256cbc-sha512", AES_CBC, 256, SHA512, TSHARK_CBC, "HMAC-SHA-512-256 [RFC4868]"},
    {"aes128ctr-sha256", G_IPSEC_LA_ALG_AES_CTR, 128 + 32, SHA256, "AES-CTR [RFC3686]", TSHARK_SHA256},
    {"3des-sha1", G_IPSEC_LA_ALG_3DES_CBC, 192, SHA1, "TripleDES-CBC [RFC2451]", TSHARK_SHA1},
    {"null-sha256", G_IPSEC_LA_CIPHER_ALGO_NULL, 0, SHA256, "NULL", TSHARK_SHA256},
};
enum { ALGORITHMS = sizeof algorithms / sizeof *algorithms };

static const struct g_ipsec_la_resp_args synchronous;
static uint8_t cipher_key[64], auth_key[64], packets[BATCH][ROOM], sealed[BATCH][ROOM], opened[BATCH][ROOM];
static struct g_ipsec_la_data in_data[BATCH], esp_data[BATCH], out_data[BATCH];
static struct pcap_pkthdr headers[BATCH];
static unsigned long taken, not_ip, cut_short, failed, different;
static double encap_seconds, decap_seconds, bytes;

static void must(const char *what, int32_t result) {
    if (result != 0) {
        fprintf(stderr, "esp_pcap: %s: %s\n", what, strerror(-result));
        exit(EXIT_FAILURE);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct g_ip_addr address(int family, const char *text) {
    struct g_ip_addr a = {.version = family == AF_INET ? G_IPSEC_LA_IPV4 : G_IPSEC_LA_IPV6};
    inet_pton(family, text, family == AF_INET ? (void *)&a.ipv4 : (void *)a.ipv6.b_addr);
    return a;
}

/* The IP packet of a frame, without link header and padding; NULL when there is none. */
static const uint8_t *ip_packet(int link, const uint8_t *frame, uint32_t captured, uint32_t *length) {
    uint32_t at = 0, type = 0;
    if (link == DLT_EN10MB) at = 14;
    if (link == DLT_LINUX_SLL) at = 16;
    if (link == DLT_LINUX_SLL2) at = 20;
    if (captured < at + 20) return NULL;
    if (at != 0) {
        uint32_t type_at = link == DLT_LINUX_SLL2 ? 0 : at - 2;
        type = (uint32_t)frame[type_at] << 8 | frame[type_at + 1];
        while ((type == 0x8100 || type == 0x88a8) && captured >= at + 24) { /* VLAN tags */
            type = (uint32_t)frame[at + 2] << 8 | frame[at + 3];
            at += 4;
        }
        if (type != 0x0800 && type != 0x86dd) return NULL;
    }
    const uint8_t *ip = frame + at;
    if (ip[0] >> 4 == 4) *length = (uint32_t)ip[2] << 8 | ip[3];
    else if (ip[0] >> 4 == 6 && captured >= at + 40) *length = 40 + ((uint32_t)ip[4] << 8 | ip[5]);
    else return NULL;
    if (*length > captured - at) {
        *length = 0; /* the capture has only a part of it */
    }
    return ip;
}

static void run_batch(struct g_ipsec_la_handle *accelerator, struct g_ipsec_la_sa_handle *out_sa,
                      struct g_ipsec_la_sa_handle *in_sa, uint32_t count, pcap_dumper_t *dump) {
    struct g_ipsec_la_packet in[BATCH], esp[BATCH], out[BATCH];
    for (uint32_t i = 0; i < count; i++) {
        esp_data[i] = (struct g_ipsec_la_data){sealed[i], ROOM};
        out_data[i] = (struct g_ipsec_la_data){opened[i], ROOM};
        in[i] = (struct g_ipsec_la_packet){1, &in_data[i]};
        esp[i] = (struct g_ipsec_la_packet){1, &esp_data[i]};
        out[i] = (struct g_ipsec_la_packet){1, &out_data[i]};
        bytes += in_data[i].length;
    }
    /* The call processes all packets; those that failed have length 0, and the call returns the first failure. */
    double start = now();
    int32_t result = g_ipsec_la_multi_packet_encap(accelerator, 0, out_sa, count, in, esp, synchronous);
    encap_seconds += now() - start;
    if (result != 0) fprintf(stderr, "esp_pcap: encapsulation: %s\n", strerror(-result));

    uint32_t good = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (esp_data[i].length == 0) continue;
        if (dump != NULL) {
            headers[i].len = headers[i].caplen = esp_data[i].length;
            pcap_dump((u_char *)dump, &headers[i], sealed[i]);
        }
        in[good] = in[i], esp[good] = esp[i], out[good] = out[i];
        good++;
    }
    failed += count - good;
    if (good == 0) return;

    start = now();
    result = g_ipsec_la_multi_packet_decap(accelerator, 0, in_sa, good, esp, out, synchronous);
    decap_seconds += now() - start;
    if (result != 0) fprintf(stderr, "esp_pcap: decapsulation: %s\n", strerror(-result));
    for (uint32_t i = 0; i < good; i++) {
        if (out[i].data->length == 0) failed++;
        else if (out[i].data->length != in[i].data->length ||
                 memcmp(out[i].data->buffer, in[i].data->buffer, in[i].data->length) != 0)
            different++;
    }
}

static struct g_ipsec_la_sa_handle add_sa(struct g_ipsec_la_handle *accelerator, struct g_ipsec_la_sa *sa,
                                          enum g_ipsec_la_sa_direction direction) {
    struct g_ipsec_la_sa_add_inargs in = {.dir = direction, .num_sas = 1, .sa_params = sa};
    struct g_ipsec_la_sa_add_outargs out;
    must("adding an SA", g_ipsec_la_sa_add(accelerator, &in, 0, &out, synchronous));
    return out.sa_handle;
}

static void print_statistics(struct g_ipsec_la_handle *accelerator, struct g_ipsec_la_sa_handle *sa,
                             enum g_ipsec_la_sa_direction direction) {
    struct g_ipsec_la_sa_stats s;
    struct g_ipsec_la_sa_get_inargs in = {direction, sa, G_IPSEC_LA_SA_GET_EXACT, 1, G_IPSEC_LA_SA_GET_STATISTICS};
    struct g_ipsec_la_sa_get_outargs out = {.stats = &s};
    must("reading statistics", g_ipsec_la_sa_get(accelerator, &in, 0, &out, NULL));
    printf("  %-8s SA: %llu packets, %llu bytes; refused: invalid %u, bad padding %u, late %u, replayed %u, "
           "bad ICV %u, crypto %u\n",
           direction == G_IPSEC_LA_IPSEC_OUTBOUND ? "outbound" : "inbound", (unsigned long long)s.packets_processed,
           (unsigned long long)s.bytes_processed, s.protocol_violation_errors.invalid_ipsec_pkt,
           s.protocol_violation_errors.invalid_pad_length, s.protocol_violation_errors.anti_replay_late_pkt,
           s.protocol_violation_errors.anti_replay_replay_pkt, s.protocol_violation_errors.invalid_icv,
           s.protocol_violation_errors.crypto_op_failed);
}

static void print_hex(const uint8_t *from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) printf("%02x", from[i]);
}

/* tshark has the salt behind the key, the g-API before it. In transport mode the packets keep their own addresses. */
static void print_tshark_sa(const struct algorithm *a, int transport, int outer6) {
    if (a->tshark_cipher == NULL) {
        fprintf(stderr, "esp_pcap: tshark has no name for %s\n", a->name);
        return;
    }
    for (int v6 = 0; v6 < 2; v6++) {
        if (!transport && v6 != outer6) continue;
        printf("uat:esp_sa:\"IPv%d\",\"*\",\"*\",\"0x%08x\",\"%s\",\"", v6 ? 6 : 4, SPI, a->tshark_cipher);
        if (a->cipher_bits + a->comb_bits != 0) printf("0x");
        if (a->comb != 0) print_hex(cipher_key + 4, a->comb_bits / 8 - 4), print_hex(cipher_key, 4);
        else print_hex(cipher_key, a->cipher_bits / 8);
        printf("\",\"%s\",\"%s", a->tshark_auth, a->auth_bits != 0 ? "0x" : "");
        print_hex(auth_key, a->auth_bits / 8);
        printf("\"\n");
    }
}

static void usage(void) {
    fprintf(stderr, "usage: esp_pcap [-a algorithm] [-w esp.pcap] [-t] [-u] [-6] [-k] capture.pcap\n"
                    "  -t transport mode   -u UDP encapsulation   -6 outer IPv6   -k print the SA for tshark\n"
                    "  algorithms:");
    for (int i = 0; i < ALGORITHMS; i++) fprintf(stderr, " %s", algorithms[i].name);
    fprintf(stderr, "\n");
    exit(2);
}

int main(int argc, char **argv) {
    const struct algorithm *a = &algorithms[0];
    const char *write_to = NULL;
    int transport = 0, udp = 0, outer6 = 0, keys = 0, option;
    while ((option = getopt(argc, argv, "a:w:tu6k")) != -1) {
        if (option == 'a') {
            for (a = algorithms; a < algorithms + ALGORITHMS && strcmp(a->name, optarg) != 0; a++) {}
            if (a == algorithms + ALGORITHMS) usage();
        } else if (option == 'w') write_to = optarg;
        else if (option == 't') transport = 1;
        else if (option == 'u') udp = 1;
        else if (option == '6') outer6 = 1;
        else if (option == 'k') keys = 1;
        else usage();
    }
    if (optind + 1 != argc) usage();
    char error[PCAP_ERRBUF_SIZE];
    pcap_t *capture = pcap_open_offline(argv[optind], error);
    if (capture == NULL) return fprintf(stderr, "esp_pcap: %s\n", error), EXIT_FAILURE;
    int link = pcap_datalink(capture);
    if (link != DLT_EN10MB && link != DLT_RAW && link != DLT_LINUX_SLL && link != DLT_LINUX_SLL2 && link != DLT_IPV4 &&
        link != DLT_IPV6)
        return fprintf(stderr, "esp_pcap: link type %d is not handled\n", link), EXIT_FAILURE;
    pcap_t *raw = pcap_open_dead(DLT_RAW, ROOM);
    pcap_dumper_t *dump = NULL;
    if (write_to != NULL && (dump = pcap_dump_open(raw, write_to)) == NULL)
        return fprintf(stderr, "esp_pcap: cannot write %s\n", write_to), EXIT_FAILURE;

    struct g_ipsec_la_handle accelerator;
    struct g_ipsec_la_open_inargs open_in = {.app_identity = "esp_pcap"};
    struct g_ipsec_la_open_outargs open_out = {&accelerator};
    must("opening an accelerator", g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &open_in, &open_out));
    if (getrandom(cipher_key, sizeof cipher_key, 0) < 0 || getrandom(auth_key, sizeof auth_key, 0) < 0)
        return perror("esp_pcap: getrandom"), EXIT_FAILURE;
    int family = outer6 ? AF_INET6 : AF_INET;
    struct g_ipsec_la_sa sa = {
        .spi = SPI,
        .proto = G_IPSEC_LA_PROTOCOL_ESP,
        .cmn_flags = (transport ? G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0) |
                     (udp ? G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL : 0),
        .crypto_params = {a->auth, auth_key, a->auth_bits, a->cipher, cipher_key, a->cipher_bits, a->comb, cipher_key,
                          a->comb_bits, 0},
        .nat_info = {.dest_port = 4500, .src_port = 4500},
        .te_addr = {address(family, outer6 ? "2001:db8:ffff::1" : "198.51.100.1"),
                    address(family, outer6 ? "2001:db8:ffff::2" : "198.51.100.2")},
    };
    struct g_ipsec_la_sa_handle out_sa = add_sa(&accelerator, &sa, G_IPSEC_LA_IPSEC_OUTBOUND);
    sa.cmn_flags |= G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    struct g_ipsec_la_sa_handle in_sa = add_sa(&accelerator, &sa, G_IPSEC_LA_IPSEC_INBOUND);
    if (keys) print_tshark_sa(a, transport, outer6);

    struct pcap_pkthdr *header;
    const u_char *frame;
    uint32_t waiting = 0;
    int more;
    while ((more = pcap_next_ex(capture, &header, &frame)) == 1) {
        uint32_t length = 0;
        const uint8_t *ip = ip_packet(link, frame, header->caplen, &length);
        if (ip == NULL) not_ip++;
        else if (length < 20 || length > ROOM) cut_short++;
        else {
            memcpy(packets[waiting], ip, length);
            in_data[waiting] = (struct g_ipsec_la_data){packets[waiting], length};
            headers[waiting++] = *header;
            taken++;
        }
        if (waiting == BATCH) run_batch(&accelerator, &out_sa, &in_sa, waiting, dump), waiting = 0;
    }
    if (more == PCAP_ERROR) pcap_perror(capture, "esp_pcap");
    if (waiting != 0) run_batch(&accelerator, &out_sa, &in_sa, waiting, dump);

    printf("%s, %s%s: %lu IP packets, %lu came back identical, %lu failed, %lu differ; skipped: %lu not IP, "
           "%lu cut short\n",
           a->name, transport ? "transport mode" : outer6 ? "IPv6 tunnel" : "IPv4 tunnel", udp ? " in UDP" : "", taken,
           taken - failed - different, failed, different, not_ip, cut_short);
    if (taken != 0)
        printf("  encap %.0f packets/s, %.2f Gbit/s; decap %.0f packets/s, %.2f Gbit/s\n", (double)taken / encap_seconds,
               bytes * 8e-9 / encap_seconds, (double)taken / decap_seconds, bytes * 8e-9 / decap_seconds);
    print_statistics(&accelerator, &out_sa, G_IPSEC_LA_IPSEC_OUTBOUND);
    print_statistics(&accelerator, &in_sa, G_IPSEC_LA_IPSEC_INBOUND);

    if (dump != NULL) pcap_dump_close(dump);
    pcap_close(raw);
    pcap_close(capture);
    must("flush", g_ipsec_la_sa_flush(&accelerator, 0, NULL));
    must("close", g_ipsec_la_close(&accelerator));
    return more != PCAP_ERROR && taken != 0 && failed == 0 && different == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
