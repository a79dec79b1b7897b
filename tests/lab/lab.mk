# Targets of the lab; to be included by the Makefile at the top.  All of them need root; state is in $LAB_DIR.
LAB := $(dir $(lastword $(MAKEFILE_LIST)))lab

.PHONY: lab-up lab-down lab-wipe lab-openstack-up lab-openstack-down lab-openstack-status lab-openstack-wipe lab-openstack-selftest lab-lint

lab-up: ## start a real OpenStack and a real Kubernetes on this machine (root; the first time it builds for half an hour)
	$(LAB) up

lab-down: ## stop both and keep their state
	$(LAB) down

lab-wipe: ## stop both and forget their state; what was built for them is kept
	$(LAB) wipe

lab-openstack-up: ## start a real OpenStack on this machine (root; the first time it installs Debian packages)
	$(LAB) openstack up

lab-openstack-down: ## stop the lab's OpenStack and keep its state
	$(LAB) openstack down

lab-openstack-status: ## list the daemons of the lab's OpenStack; fails unless all of them are up
	$(LAB) openstack status

lab-openstack-wipe: ## stop the lab's OpenStack and forget its state
	$(LAB) openstack wipe

lab-openstack-selftest: ## prove that the lab's OpenStack works, one line for each check
	$(LAB) selftest

lab-lint: ## check the lab's shell scripts
	cd $(dir $(LAB)) && shellcheck -x lab crashtest lib/*.sh openstack/*.sh kubernetes/*.sh kubernetes/host-mounts kubernetes/fuse-tree kubernetes/guest/*
