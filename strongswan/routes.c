/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "routes.h"

#include "tun.h"
#include "unreachable.h"

#include <threading/mutex.h>

typedef struct route_t {
	chunk_t net;
	uint8_t prefix;
	host_t *src;
	/** The source is not one that the policy is for: nobody here has such an address. */
	bool forwards;
	unsigned refs;
} route_t;

static linked_list_t *routes;
static mutex_t *lock;
static bool enabled;

bool routes_create(void)
{
	routes = linked_list_create();
	lock = mutex_create(MUTEX_TYPE_DEFAULT);
	enabled = lib->settings->get_bool(lib->settings, "%s.install_routes", TRUE, lib->ns);
	unreachable_create();
	return TRUE;
}

static status_t install(route_t *this)
{
	return charon->kernel->add_route(charon->kernel, this->net, this->prefix, NULL, this->src, tun_name(), FALSE);
}

static void uninstall(route_t *this)
{
	charon->kernel->del_route(charon->kernel, this->net, this->prefix, NULL, this->src, tun_name(), FALSE);
}

static void destroy(route_t *this)
{
	chunk_free(&this->net);
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
static host_t *source(traffic_selector_t *src, host_t *outer, host_t *net, bool *forwards)
{
	int family = net->get_family(net);
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

/** Under the lock. */
static status_t add_new(traffic_selector_t *src, traffic_selector_t *dst, host_t *outer, host_t *net, uint8_t prefix)
{
	bool forwards;
	host_t *address = source(src, outer, net, &forwards);
	route_t *route;
	status_t status;

	if (!address)
	{
		DBG1(DBG_KNL, "there is no route to %R: we have no address", dst);
		return FAILED;
	}
	INIT(route,
		.net = chunk_clone(net->get_address(net)),
		.prefix = prefix,
		.src = address,
		.forwards = forwards,
		.refs = 1,
	);
	status = install(route);
	if (status != SUCCESS && status != ALREADY_DONE)
	{
		DBG1(DBG_KNL, "the route to %R cannot be installed", dst);
		destroy(route);
		return FAILED;
	}
	unreachable_add(route->net, route->prefix);
	routes->insert_last(routes, route);
	return SUCCESS;
}

/** Under the lock: a route that was for forwarding alone gets a source that a policy is for. */
static void improve(route_t *this, traffic_selector_t *src, host_t *net)
{
	bool forwards;
	host_t *address;

	if (!this->forwards)
	{
		return;
	}
	address = source(src, NULL, net, &forwards);
	if (!address || forwards)
	{
		DESTROY_IF(address);
		return;
	}
	uninstall(this);
	this->src->destroy(this->src);
	this->src = address;
	this->forwards = FALSE;
	install(this);
}

status_t route_add(traffic_selector_t *src, traffic_selector_t *dst, host_t *outer)
{
	host_t *net = NULL;
	uint8_t prefix;
	route_t *route;
	status_t status = SUCCESS;

	/* A range that is no subnet has the smallest one around it, which is what is wanted. */
	dst->to_subnet(dst, &net, &prefix);
	if (!enabled || !net)
	{
		DESTROY_IF(net);
		return NOT_FOUND;
	}
	lock->lock(lock);
	route = find(net->get_address(net), prefix);
	if (route)
	{
		route->refs++;
		improve(route, src, net);
	}
	else
	{
		status = add_new(src, dst, outer, net, prefix);
	}
	lock->unlock(lock);
	net->destroy(net);
	return status;
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

bool routes_reinstall(void)
{
	enumerator_t *enumerator;
	route_t *route;
	bool done = TRUE;

	lock->lock(lock);
	enumerator = routes->create_enumerator(routes);
	while (enumerator->enumerate(enumerator, &route))
	{
		/* charon still has those that went with the device. */
		uninstall(route);
		done &= install(route) == SUCCESS;
	}
	enumerator->destroy(enumerator);
	lock->unlock(lock);
	return done;
}
