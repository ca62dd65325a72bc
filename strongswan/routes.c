/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes.h"

#include "tun.h"
#include "unreachable.h"
#include "virtual_ips.h"

#include <processing/jobs/callback_job.h>
#include <threading/mutex.h>

/** Milliseconds before a route that could not be installed is tried again: at first, and at most. */
#define SOON 250
#define LATE 30000

typedef struct route_t {
	chunk_t net;
	uint8_t prefix;
	/** Of the first policy that wants it; its SA's address, or NULL. */
	traffic_selector_t *src_ts;
	host_t *outer;
	/** NULL: we have no address of that family. */
	host_t *src;
	/** The source is not one that the policy is for: nobody here has such an address. */
	bool forwards;
	/** The source is an address of the TUN device: a peer gave it to us. */
	bool is_virtual;
	bool installed;
	unsigned refs;
} route_t;

static linked_list_t *routes;
static mutex_t *lock;
static bool enabled;
/** Milliseconds until those that are not installed are tried again; 0: nobody does. */
static uint32_t again;
/** The job that does it: others that are under way end. */
static uintptr_t turn;

bool routes_create(void)
{
	routes = linked_list_create();
	lock = mutex_create(MUTEX_TYPE_DEFAULT);
	enabled = lib->settings->get_bool(lib->settings, "%s.install_routes", TRUE, lib->ns);
	unreachable_create();
	return TRUE;
}

static void uninstall(route_t *this)
{
	if (this->installed)
	{
		charon->kernel->del_route(charon->kernel, this->net, this->prefix, NULL, this->src, tun_name(), FALSE);
	}
	this->installed = FALSE;
}

static void destroy(route_t *this)
{
	chunk_free(&this->net);
	this->src_ts->destroy(this->src_ts);
	DESTROY_IF(this->outer);
	DESTROY_IF(this->src);
	free(this);
}

void routes_destroy(void)
{
	route_t *route;

	while (routes->remove_first(routes, (void**)&route) == SUCCESS)
	{
		unreachable_delete(route->net, route->prefix);
		uninstall(route);
		destroy(route);
	}
	unreachable_destroy();
	routes->destroy(routes);
	lock->destroy(lock);
}

/** Under the lock. */
static route_t *find(chunk_t net, uint8_t prefix)
{
	enumerator_t *enumerator = routes->create_enumerator(routes);
	route_t *route, *found = NULL;

	while (!found && enumerator->enumerate(enumerator, &route))
	{
		if (route->prefix == prefix && chunk_equals(route->net, net))
		{
			found = route;
		}
	}
	enumerator->destroy(enumerator);
	return found;
}

/** Any address of ours, of a family. */
static host_t *any_address(int family)
{
	enumerator_t *enumerator = charon->kernel->create_address_enumerator(charon->kernel, ADDR_TYPE_REGULAR);
	host_t *address, *found = NULL;

	while (!found && enumerator->enumerate(enumerator, &address))
	{
		if (address->get_family(address) == family)
		{
			found = address->clone(address);
		}
	}
	enumerator->destroy(enumerator);
	return found;
}

/** Our address that packets to these destinations are to come from. */
static host_t *source(traffic_selector_t *src, host_t *outer, int family, bool *forwards)
{
	host_t *address = NULL;
	bool is_virtual;

	*forwards = FALSE;
	if (charon->kernel->get_address_by_ts(charon->kernel, src, &address, &is_virtual) == SUCCESS)
	{
		return address;
	}
	/* A gateway without an address of its own behind it only forwards: any address will do. */
	*forwards = TRUE;
	return outer && outer->get_family(outer) == family && !outer->is_anyaddr(outer) ? outer->clone(outer)
																					: any_address(family);
}

/** Whether an address is one of the TUN device. */
static bool is_virtual(host_t *address)
{
	char *interface = NULL;
	bool is = charon->kernel->get_interface(charon->kernel, address, &interface) && streq(interface, tun_name());

	free(interface);
	return is;
}

/** Under the lock: installs a route that is not, from the address that it had, or another one of ours. */
static void install(route_t *this)
{
	status_t status;

	if (!this->src)
	{
		this->src = source(this->src_ts, this->outer, this->net.len == 4 ? AF_INET : AF_INET6, &this->forwards);
		this->is_virtual = this->src && is_virtual(this->src);
	}
	if (!this->src)
	{
		return;
	}
	status = charon->kernel->add_route(charon->kernel, this->net, this->prefix, NULL, this->src, tun_name(), FALSE);
	this->installed = status == SUCCESS || status == ALREADY_DONE;
}

/** Addresses, or the TUN device, may be there by now. */
static job_requeue_t try_again(void *number)
{
	enumerator_t *enumerator;
	route_t *route;
	uint32_t next = 0;

	lock->lock(lock);
	if ((uintptr_t)number != turn)
	{
		lock->unlock(lock);
		return JOB_REQUEUE_NONE;
	}
	enumerator = routes->create_enumerator(routes);
	while (enumerator->enumerate(enumerator, &route))
	{
		if (!route->installed)
		{
			install(route);
			if (!route->installed)
			{
				/* The next time, another one may be right. */
				DESTROY_IF(route->src);
				route->src = NULL;
			}
			next = route->installed ? next : min(2 * again, LATE);
		}
	}
	enumerator->destroy(enumerator);
	again = next;
	lock->unlock(lock);
	return next ? JOB_RESCHEDULE_MS(next) : JOB_REQUEUE_NONE;
}

/** Under the lock. */
static void schedule(void)
{
	if (again == SOON)
	{
		return;
	}
	again = SOON;
	lib->scheduler->schedule_job_ms(lib->scheduler, (job_t*)callback_job_create(try_again, (void*)++turn, NULL, NULL), SOON);
}

/** Under the lock. Nothing goes another way while there is no route: an unreachable one needs no address of ours. */
static void add_new(traffic_selector_t *src, traffic_selector_t *dst, host_t *outer, host_t *net, uint8_t prefix)
{
	route_t *route;

	INIT(route,
		.net = chunk_clone(net->get_address(net)),
		.prefix = prefix,
		.src_ts = src->clone(src),
		.outer = outer ? outer->clone(outer) : NULL,
		.refs = 1,
	);
	routes->insert_last(routes, route);
	unreachable_add(route->net, route->prefix);
	install(route);
	if (!route->installed)
	{
		DBG1(DBG_KNL, "there is no route to %R yet: %s", dst,
			 route->src ? "the system does not take it" : "we have no address");
		schedule();
	}
}

/** Under the lock: a route that was for forwarding alone gets a source that a policy is for. */
static void improve(route_t *this, traffic_selector_t *src)
{
	bool forwards;
	host_t *address;

	if (!this->forwards || !this->src)
	{
		return;
	}
	address = source(src, NULL, this->net.len == 4 ? AF_INET : AF_INET6, &forwards);
	DESTROY_IF(address);
	if (!address || forwards)
	{
		return;
	}
	uninstall(this);
	this->src->destroy(this->src);
	this->src = NULL;
	this->src_ts->destroy(this->src_ts);
	this->src_ts = src->clone(src);
	install(this);
	if (!this->installed)
	{
		schedule();
	}
}

bool route_add(traffic_selector_t *src, traffic_selector_t *dst, host_t *outer)
{
	host_t *net = NULL;
	uint8_t prefix;
	route_t *route;

	/* A range that is no subnet has the smallest one around it, which is what is wanted. */
	dst->to_subnet(dst, &net, &prefix);
	if (!enabled || !net)
	{
		DESTROY_IF(net);
		return FALSE;
	}
	lock->lock(lock);
	route = find(net->get_address(net), prefix);
	if (route)
	{
		route->refs++;
		improve(route, src);
	}
	else
	{
		add_new(src, dst, outer, net, prefix);
	}
	lock->unlock(lock);
	net->destroy(net);
	return TRUE;
}

void route_delete(traffic_selector_t *dst)
{
	host_t *net = NULL;
	uint8_t prefix;
	route_t *route;

	dst->to_subnet(dst, &net, &prefix);
	if (!net)
	{
		return;
	}
	lock->lock(lock);
	route = find(net->get_address(net), prefix);
	if (route && --route->refs == 0)
	{
		routes->remove(routes, route, NULL);
		unreachable_delete(route->net, route->prefix);
		uninstall(route);
		destroy(route);
	}
	lock->unlock(lock);
	net->destroy(net);
}

void routes_reinstall(void)
{
	enumerator_t *enumerator;
	route_t *route;

	lock->lock(lock);
	enumerator = routes->create_enumerator(routes);
	while (enumerator->enumerate(enumerator, &route))
	{
		/* charon still has those that went with the device. */
		uninstall(route);
		if (route->src && route->is_virtual)
		{
			virtual_ip_restore(route->src, tun_index());
		}
		schedule();
	}
	enumerator->destroy(enumerator);
	lock->unlock(lock);
}
