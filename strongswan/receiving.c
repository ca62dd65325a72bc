/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "receiving.h"

#include "ip.h"

#include <daemon.h>
#include <encoding/message.h>
#include <processing/jobs/process_message_job.h>

#include <netinet/udp.h>

/** What messages say of themselves. */
typedef union details_t {
	char bytes[256];
	struct cmsghdr align;
} details_t;

/** A message's own. */
typedef struct about_t {
	struct in_addr to4;
	struct in6_addr to6;
	uint8_t tos, ttl;
	/** Bytes of each packet in it but the last; 0: there is one. */
	size_t segment;
} about_t;

receiver_state_t *receiver_state_create(void)
{
	receiver_state_t *this;

	INIT(this,
		.buffers = malloc((size_t)MESSAGES * MESSAGE_STRIDE),
	);
	return this;
}

void receiver_state_destroy(receiver_state_t *this)
{
	free(this->buffers);
	free(this);
}

static about_t read_details(struct msghdr *msg)
{
	about_t about = {{0}};

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg))
	{
		const void *data = CMSG_DATA(cmsg);
		int number = 0;

		if (cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_PKTINFO)
		{
			about.to4 = ((const struct in_pktinfo*)data)->ipi_addr;
		}
		else if (cmsg->cmsg_level == SOL_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO)
		{
			about.to6 = ((const struct in6_pktinfo*)data)->ipi6_addr;
		}
		else if (cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_TOS)
		{
			about.tos = *(const uint8_t*)data;
		}
		else if (cmsg->cmsg_level == SOL_IPV6 && cmsg->cmsg_type == IPV6_TCLASS)
		{
			memcpy(&number, data, sizeof(number));
			about.tos = (uint8_t)number;
		}
		else if ((cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_TTL) ||
				 (cmsg->cmsg_level == SOL_IPV6 && cmsg->cmsg_type == IPV6_HOPLIMIT))
		{
			memcpy(&number, data, sizeof(number));
			about.ttl = (uint8_t)number;
		}
		else if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_GRO)
		{
			memcpy(&number, data, sizeof(number));
			about.segment = number > 0 ? (size_t)number : 0;
		}
	}
	return about;
}

/** The IP header that a packet had, as far as we were told. */
static void make_header(arrived_t *this, const struct sockaddr_storage *from, const about_t *about)
{
	if (from->ss_family == AF_INET)
	{
		this->header_length = 20;
		memset(this->header, 0, 20);
		this->header[0] = 0x45;
		this->header[1] = about->tos;
		put16(this->header + 2, (uint16_t)(20 + this->length));
		this->header[8] = about->ttl;
		this->header[9] = this->protocol;
		memcpy(this->header + 12, &((const struct sockaddr_in*)from)->sin_addr, 4);
		memcpy(this->header + 16, &about->to4, 4);
		ip_header_checksum(this->header);
	}
	else
	{
		this->header_length = 40;
		put32(this->header, 0x60000000u | (uint32_t)about->tos << 20);
		put16(this->header + 4, (uint16_t)this->length);
		this->header[6] = this->protocol;
		this->header[7] = about->ttl;
		memcpy(this->header + 8, &((const struct sockaddr_in6*)from)->sin6_addr, 16);
		memcpy(this->header + 24, &about->to6, 16);
	}
}

/** Where the SPI is: first in ESP, second word of AH. */
static bool set_spi(arrived_t *this)
{
	size_t at = this->protocol == IPPROTO_AH ? 4 : 0;

	if (this->length < at + 8)
	{
		return false;
	}
	memcpy(&this->spi, this->packet + at, sizeof(this->spi));
	return true;
}

/** Takes a message of a raw IPv4 socket, which begins with its header. */
static void take_ip4(receiver_state_t *this, uint8_t *bytes, size_t length, uint8_t message)
{
	arrived_t *arrived = &this->arrived[this->count];
	size_t header;

	if (length < 20)
	{
		return;
	}
	header = (bytes[0] & 0xf) * 4u;
	if (header < 20 || header > length)
	{
		return;
	}
	*arrived = (arrived_t){.packet = bytes + header, .length = (uint32_t)(length - header), .protocol = bytes[9],
						   .message = message, .header_length = (uint8_t)header};
	memcpy(arrived->header, bytes, header);
	/* It was put together if it was cut. */
	put16(arrived->header + 2, (uint16_t)length);
	arrived->header[6] &= 0x40;
	arrived->header[7] = 0;
	this->count += set_spi(arrived);
}

/** A message of IKE, behind its marker: the system has joined it to ESP packets before it, and the filter saw these. Who begins
 *  an IKE_SA is not in the midst of ESP, and what charon does against floods of them is not done here. */
static void hand_to_charon(const struct sockaddr_storage *from, const about_t *about, uint8_t *bytes, size_t length)
{
	int family = from->ss_family;
	chunk_t to = family == AF_INET ? chunk_create((u_char*)&about->to4, sizeof(about->to4))
								   : chunk_create((u_char*)&about->to6, sizeof(about->to6));
	host_t *src = host_create_from_sockaddr((sockaddr_t*)from);
	host_t *dst = host_create_from_chunk(family, to, charon->socket->get_port(charon->socket, TRUE));
	message_t *message;
	ike_sa_id_t *id;

	if (!src || !dst)
	{
		DESTROY_IF(src);
		DESTROY_IF(dst);
		return;
	}
	message = message_create_from_packet(packet_create_from_data(src, dst, chunk_clone(chunk_create(bytes, length))));
	if (message->parse_header(message) == SUCCESS)
	{
		id = message->get_ike_sa_id(message);
		if (id->get_initiator_spi(id) && id->get_responder_spi(id))
		{
			lib->processor->queue_job(lib->processor, (job_t*)process_message_job_create(message));
			return;
		}
	}
	message->destroy(message);
}

static void take(receiver_state_t *this, uint8_t *bytes, size_t length, uint8_t message, uint8_t protocol,
				 const about_t *about)
{
	size_t size = about->segment ? about->segment : length;

	for (size_t at = 0; at < length && this->count < ARRIVED; at += size)
	{
		arrived_t *arrived = &this->arrived[this->count];

		arrived->packet = bytes + at;
		arrived->length = (uint32_t)min(size, length - at);
		arrived->protocol = protocol;
		arrived->message = message;
		if (!set_spi(arrived))
		{
			continue;
		}
		if (this->udp && !arrived->spi)
		{
			hand_to_charon(&this->from[message], about, bytes + at + sizeof(arrived->spi), arrived->length - sizeof(arrived->spi));
		}
		else
		{
			make_header(arrived, &this->from[message], about);
			this->count++;
		}
	}
}

size_t receive_packets(receiver_state_t *this, int fd, source_t source)
{
	struct mmsghdr messages[MESSAGES];
	struct iovec iov[MESSAGES];
	details_t details[MESSAGES];
	bool is_udp = source == FROM_UDP4 || source == FROM_UDP6;
	uint8_t protocol = source == FROM_AH4 || source == FROM_AH6 ? IPPROTO_AH : IPPROTO_ESP;
	int count;

	for (int i = 0; i < MESSAGES; i++)
	{
		iov[i] = (struct iovec){this->buffers + (size_t)i * MESSAGE_STRIDE, MESSAGE_SIZE};
		messages[i] = (struct mmsghdr){.msg_hdr = {
			.msg_name = &this->from[i],
			.msg_namelen = sizeof(this->from[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = details[i].bytes,
			.msg_controllen = sizeof(details[i].bytes),
		}};
	}
	this->count = 0;
	this->udp = is_udp;
	/* An error of a packet that was sent before may be told here: it is not about what arrives. */
	count = recvmmsg(fd, messages, MESSAGES, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++)
	{
		uint8_t *bytes = iov[i].iov_base;
		size_t length = messages[i].msg_len;

		if (source == FROM_ESP4 || source == FROM_AH4)
		{
			take_ip4(this, bytes, length, (uint8_t)i);
		}
		else
		{
			about_t about = read_details(&messages[i].msg_hdr);

			take(this, bytes, length, (uint8_t)i, protocol, &about);
		}
	}
	return count > 0 ? (size_t)count : 0;
}
