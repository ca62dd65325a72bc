/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tun.h"

#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define MAX_QUEUES 64
/** Packets that wait in the device for a worker, before the system drops some. */
#define QUEUE_LENGTH 500

static int queues[MAX_QUEUES];
static size_t count;
static unsigned mtu_wanted;
static char name[IFNAMSIZ];

char *tun_name(void)
{
	return name;
}

unsigned tun_index(void)
{
	struct ifreq ifr = {0};

	return ioctl(queues[0], TUNGETIFF, &ifr) == 0 ? if_nametoindex(ifr.ifr_name) : 0;
}

bool tun_has_its_name(void)
{
	struct ifreq ifr = {0};

	return ioctl(queues[0], TUNGETIFF, &ifr) != 0 || streq(ifr.ifr_name, name);
}

unsigned tun_mtu(void)
{
	return mtu_wanted;
}

int tun_queue(size_t number)
{
	return queues[number];
}

static void close_all(int fds[])
{
	for (size_t i = 0; i < count; i++)
	{
		if (fds[i] >= 0)
		{
			close(fds[i]);
			fds[i] = -1;
		}
	}
}

/** Opens a queue; the first one's name is that of the others, too. */
static int open_queue(char *wanted)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
	unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
	{
		complain(COMPLAIN_NO_TUN, "/dev/net/tun cannot be opened: %s", strerror(errno));
		return -1;
	}
	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", wanted);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
	{
		complain(COMPLAIN_NO_TUN, "the TUN device %s cannot be made: %s", wanted, strerror(errno));
		close(fd);
		return -1;
	}
	snprintf(name, IFNAMSIZ, "%s", ifr.ifr_name);
	/* Kernels before 6.2 do not cut UDP. Without any, packets come one by one. */
	if (ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) < 0 && ioctl(fd, TUNSETOFFLOAD, offloads) < 0)
	{
		DBG1(DBG_KNL, "the TUN device hands out no large segments: %s", strerror(errno));
	}
	return fd;
}

static bool set_up(unsigned mtu)
{
	struct ifreq ifr = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool done;

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	ifr.ifr_mtu = (int)mtu;
	done = fd >= 0 && ioctl(fd, SIOCSIFMTU, &ifr) == 0;
	ifr.ifr_qlen = QUEUE_LENGTH;
	done = done && ioctl(fd, SIOCSIFTXQLEN, &ifr) == 0 && ioctl(fd, SIOCGIFFLAGS, &ifr) == 0;
	ifr.ifr_flags |= IFF_UP;
	done = done && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
	if (!done)
	{
		DBG1(DBG_KNL, "the TUN device %s cannot be set up: %s", name, strerror(errno));
	}
	if (fd >= 0)
	{
		close(fd);
	}
	return done;
}

/** Makes the device; its queues go to `fds`. */
static bool make(char *wanted, int fds[])
{
	for (size_t i = 0; i < MAX_QUEUES; i++)
	{
		fds[i] = -1;
	}
	for (size_t i = 0; i < count; i++)
	{
		fds[i] = open_queue(i ? name : wanted);
		if (fds[i] < 0)
		{
			close_all(fds);
			return false;
		}
	}
	if (!set_up(mtu_wanted))
	{
		/* It goes with its queues. */
		close_all(fds);
		return false;
	}
	return true;
}

bool tun_create(size_t number, unsigned mtu)
{
	count = number < MAX_QUEUES ? number : MAX_QUEUES;
	mtu_wanted = mtu;
	return make(lib->settings->get_str(lib->settings, "%s.plugins.kernel-gipsec.tun", "ipsec%d", lib->ns), queues);
}

bool tun_recreate(void)
{
	int fresh[MAX_QUEUES];

	if (if_nametoindex(name) || !make(name, fresh))
	{
		return false;
	}
	/* Workers know the numbers of the old ones: these stay, and mean the new device from one moment to the next. */
	for (size_t i = 0; i < count; i++)
	{
		dup3(fresh[i], queues[i], O_CLOEXEC);
	}
	close_all(fresh);
	return true;
}

void tun_destroy(void)
{
	close_all(queues);
}
