#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Inside the VM: every program must load, within the verifier's instructions that weft allows itself; one request is
# answered by the kernel, one is forwarded by the agent, one connection goes the l4 way.
fail() {
	echo "FAILED: $1"
	tail -n 40 /tmp/agent.log
	exit 1
}


netcfg link set lo up
netcfg netns add pod || fail "ip netns"
netcfg -n pod link set lo up
netcfg -n pod addr add 10.88.0.1/32 dev lo
netcfg -n pod route add 10.99.0.0/24 dev lo
mkdir -p /cg/pods
weft-agent probe
weft-verify || fail "weft-verify"
weft-agent run --config /etc/weft.yaml --cgroup /cg/pods --admin /run/weft.sock >/tmp/agent.log 2>&1 &
agent=$!
i=0
until grep -q '^weft-agent ready' /tmp/agent.log; do
	i=$((i + 1))
	[ $i -lt 120 ] || fail "the agent is not ready"
	kill -0 $agent 2>/dev/null || fail "the agent ended"
	sleep 0.5
done
weft-agent pod add --admin /run/weft.sock --netns /run/netns/pod --name vm --namespace test || fail "pod add"
echo $$ >/cg/pods/cgroup.procs
netcfg netns exec pod httpd -p 10.88.0.1:8080 -h /www || fail "httpd"

answer=$(netcfg netns exec pod sh -c "$(cat <<'REQ'
(printf 'GET /refused HTTP/1.1\r\nHost: vm.test\r\n\r\n'; sleep 3) | timeout 10 nc 10.99.0.1 80
REQ
)")
echo "$answer" | head -n 1
echo "$answer" | grep -q '^HTTP/1.1 403' || fail "no 403 from the rule"
weft-agent dump stats --admin /run/weft.sock --json >/tmp/stats.json || fail "dump stats"
tr -d ' \n' </tmp/stats.json | grep -q '"kernel":{[^}]*"direct_response":1[,}]' || {
	cat /tmp/stats.json
	fail "the kernel did not answer it"
}

answer=$(netcfg netns exec pod sh -c "$(cat <<'REQ'
(printf 'GET / HTTP/1.1\r\nHost: vm.test\r\n\r\n'; sleep 3) | timeout 10 nc 10.99.0.1 80
REQ
)")
echo "$answer" | head -n 1
echo "$answer" | grep -q hello || fail "not forwarded"

answer=$(netcfg netns exec pod timeout 10 wget -q -O - http://10.99.0.2/)
[ "$answer" = hello ] || fail "l4: $answer"
weft-agent dump stats --admin /run/weft.sock
kill $agent
wait $agent
exit 0
