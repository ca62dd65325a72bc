/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Changes that the kernel is asked for over rtnetlink(7), one at a time.
 */
#ifndef GIPSEC_NETLINK_H_
#define GIPSEC_NETLINK_H_

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

/** Bytes of a request at most. */
#define NETLINK_MOST 128

/** A socket that waits two seconds for an answer at most; -1, and errno. */
int netlink_open(void);

/** Adds an attribute to a request that has room for it. */
void netlink_add(struct nlmsghdr *request, unsigned short type, const void *data, size_t length);

/** Sends a request of up to NETLINK_MOST bytes, and waits for what the kernel says of it: 0, or an error. */
int netlink_change(int fd, struct nlmsghdr *request);

#endif
