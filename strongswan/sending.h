/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Protected packets on their way out: over UDP many in one system call, and in IP one by one, also in one call.
 */
#ifndef GIPSEC_SENDING_H_
#define GIPSEC_SENDING_H_

#include "sad.h"

/** Packets in a batch at most; as many segments as Linux takes in one call. */
#define BATCH 64

/** A packet that is to be sent: from the IP header on. */
typedef struct outgoing_t {
	uint8_t *packet;
	size_t length;
	/** May be cut, whatever its header says: nothing smaller goes in. */
	bool cut;
} outgoing_t;

/** What a sender keeps. */
typedef struct sender_state_t {
	size_t worker;
	/** This system cuts UDP segments. */
	bool cuts;
	/** The UDP sockets' current choice: outer packets must not be fragmented. */
	bool whole4, whole6;
	/** Of the next packet that is cut. */
	uint32_t id;
} sender_state_t;

/** Sends packets of one SA. */
void send_packets(sender_state_t *this, const sa_use_t *use, outgoing_t *packets, size_t count);

/** Takes the errors that wait at a socket, and learns what paths take. */
void send_learn(int fd);

/** Sends a plain packet past policies. */
void send_plain(uint8_t *packet, size_t length);

#endif
