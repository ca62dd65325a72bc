/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unreachable.h"

#include "netlink.h"

#include <collections/array.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/** Who made a route (rtm_protocol): nobody else of those that the kernel's headers know. */
#define MADE_BY_US 105
/** Last of all in its table. */
#define METRIC UINT32_MAX
/** Where charon has its routes, unless configured. */
#define TABLE 220

/** -1: not wanted. */
static int fd = -1;
static uint32_t table;

/** Asks for a change of a route; 0, or an error. */
static int change(uint16_t type, uint16_t flags, const void *net, size_t length, uint8_t prefix)
{
	uint32_t metric = METRIC;
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
		uint8_t attributes[64];
	} request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(request.route)), .nlmsg_type = type, .nlmsg_flags = flags},
		.route = {.rtm_family = length == 4 ? AF_INET : AF_INET6, .rtm_dst_len = prefix, .rtm_protocol = MADE_BY_US,
				  .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNREACHABLE},
	};

	netlink_add(&request.header, RTA_DST, net, length);
	netlink_add(&request.header, RTA_TABLE, &table, sizeof(table));
	netlink_add(&request.header, RTA_PRIORITY, &metric, sizeof(metric));
	return netlink_change(fd, &request.header);
}

/** A route that was found. */
typedef struct found_t {
	uint8_t net[16], length, prefix;
	/** One of ours. */
	bool ours;
} found_t;

/** Reads a route; whether it is in the table. */
static bool read_route(const struct nlmsghdr *header, found_t *found)
{
	struct rtmsg *route = NLMSG_DATA(header);
	uint32_t left = (uint32_t)RTM_PAYLOAD(header), in_table = route->rtm_table;

	*found = (found_t){.prefix = route->rtm_dst_len, .length = route->rtm_family == AF_INET ? 4 : 16,
					   .ours = route->rtm_protocol == MADE_BY_US && route->rtm_type == RTN_UNREACHABLE};
	for (struct rtattr *at = RTM_RTA(route); RTA_OK(at, left); at = RTA_NEXT(at, left))
	{
		if (at->rta_type == RTA_DST && RTA_PAYLOAD(at) <= sizeof(found->net))
		{
			memcpy(found->net, RTA_DATA(at), RTA_PAYLOAD(at));
		}
		else if (at->rta_type == RTA_TABLE && RTA_PAYLOAD(at) == sizeof(in_table))
		{
			memcpy(&in_table, RTA_DATA(at), sizeof(in_table));
		}
	}
	return in_table == table;
}

/** All of the table, into `routes`. */
static void list(array_t *routes)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
	} request = {
		.header = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.route = {.rtm_family = AF_UNSPEC},
	};
	union {
		struct nlmsghdr align;
		char bytes[32768];
	} answer;
	found_t found;

	if (send(fd, &request, sizeof(request), 0) < 0)
	{
		return;
	}
	for (;;)
	{
		ssize_t got = recv(fd, &answer, sizeof(answer), 0);
		uint32_t left = (uint32_t)max(got, 0);

		if (got < 0 && errno == EINTR)
		{
			continue;
		}
		if (got <= 0)
		{
			return;
		}
		for (struct nlmsghdr *header = &answer.align; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left))
		{
			if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
			{
				return;
			}
			if (header->nlmsg_type == RTM_NEWROUTE && read_route(header, &found))
			{
				array_insert(routes, ARRAY_TAIL, &found);
			}
		}
	}
}

/** What a charon left that was killed: its packets may go again. Those of one that lives have its routes before them. */
static void remove_old(void)
{
	array_t *routes = array_create(sizeof(found_t), 0);
	found_t found, other;
	int removed = 0;

	list(routes);
	for (int at = 0; at < array_count(routes); at++)
	{
		bool lives = FALSE;

		array_get(routes, at, &found);
		for (int i = 0; found.ours && !lives && i < array_count(routes); i++)
		{
			array_get(routes, i, &other);
			lives = !other.ours && other.length == found.length && other.prefix == found.prefix &&
					!memcmp(other.net, found.net, sizeof(found.net));
		}
		if (found.ours && !lives)
		{
			removed += change(RTM_DELROUTE, 0, found.net, found.length, found.prefix) == 0;
		}
	}
	if (removed)
	{
		DBG1(DBG_KNL, "removed %d unreachable routes of a charon that is gone", removed);
	}
	array_destroy(routes);
}

void unreachable_create(void)
{
	int number = lib->settings->get_int(lib->settings, "%s.routing_table", TABLE, lib->ns);

	fd = netlink_open();
	if (fd < 0)
	{
		DBG1(DBG_KNL, "there are no unreachable routes: %s", strerror(errno));
		return;
	}
	table = number > 0 ? (uint32_t)number : RT_TABLE_MAIN;
	remove_old();
	/* In the main table they would be taken for ways to peers. */
	if (number <= 0 || !lib->settings->get_bool(lib->settings, "%s.plugins.kernel-gipsec.unreachable", TRUE, lib->ns))
	{
		unreachable_destroy();
	}
}

void unreachable_destroy(void)
{
	if (fd >= 0)
	{
		close(fd);
	}
	fd = -1;
}

void unreachable_add(chunk_t net, uint8_t prefix)
{
	int error = fd < 0 ? 0 : change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, net.ptr, net.len, prefix);

	if (error)
	{
		DBG1(DBG_KNL, "no unreachable route: %s", strerror(error));
	}
}

void unreachable_delete(chunk_t net, uint8_t prefix)
{
	if (fd >= 0)
	{
		change(RTM_DELROUTE, 0, net.ptr, net.len, prefix);
	}
}
