/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtual_ips.h"

#include "netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <unistd.h>

void virtual_ip_restore(host_t *address, unsigned interface)
{
	chunk_t bytes = address->get_address(address);
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg address;
		uint8_t attributes[32];
	} request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(request.address)), .nlmsg_type = RTM_NEWADDR,
				   .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE},
		.address = {.ifa_family = (uint8_t)address->get_family(address), .ifa_prefixlen = (uint8_t)(8 * bytes.len),
					.ifa_flags = IFA_F_NODAD, .ifa_index = interface},
	};
	int fd = netlink_open(), error = errno;

	if (fd >= 0)
	{
		netlink_add(&request.header, IFA_LOCAL, bytes.ptr, bytes.len);
		error = netlink_change(fd, &request.header);
		close(fd);
	}
	if (error)
	{
		DBG1(DBG_KNL, "the virtual IP %H is not on the TUN device any more: %s", address, strerror(error));
	}
}
