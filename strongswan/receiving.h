/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Protected packets as they arrive: over UDP many in one message, and in IP.
 */
#ifndef GIPSEC_RECEIVING_H_
#define GIPSEC_RECEIVING_H_

#include "sockets.h"

#include <netinet/in.h>

/** Messages that are read at once at most, and bytes of each. */
#define MESSAGES 64
#define MESSAGE_SIZE 65536
/** Bytes from one to the next: beginnings that are a power of two apart would push each other out of the cache. */
#define MESSAGE_STRIDE (MESSAGE_SIZE + 2112)
/** Packets in them at most. */
#define ARRIVED (MESSAGES * 64)

/** A packet that arrived: ESP or AH, without the IP header. */
typedef struct arrived_t {
	uint8_t *packet;
	uint32_t length;
	/** Network order. */
	uint32_t spi;
	/** Its IP header, also of those that came without: addresses and traffic class are real. */
	uint8_t header[60];
	uint8_t header_length, protocol;
	/** The message it was in. */
	uint8_t message;
} arrived_t;

/** What a receiver keeps. */
typedef struct receiver_state_t {
	uint8_t *buffers;
	/** Of each message: who sent it. */
	struct sockaddr_storage from[MESSAGES];
	arrived_t arrived[ARRIVED];
	size_t count;
	bool udp;
} receiver_state_t;

receiver_state_t *receiver_state_create(void);
void receiver_state_destroy(receiver_state_t *this);

/** Reads what there is, without waiting: up to MESSAGES; how many. */
size_t receive_packets(receiver_state_t *this, int fd, source_t source);

#endif
