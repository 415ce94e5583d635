/** Netfilter hooks of the inet families by number (include/uapi/linux/netfilter.h, enum nf_inet_hooks). */
const inetHooks = ['prerouting', 'input', 'forward', 'output', 'postrouting', 'ingress'] as const;
/** enum nf_dev_hooks, for NFPROTO_NETDEV. */
const deviceHooks = ['ingress', 'egress'] as const;
const NFPROTO_NETDEV = 5;

/** Name of a hook as nft(8) writes it; undefined for a number it does not know. */
export function hookName(family: number, hook: number): string | undefined {
  return family === NFPROTO_NETDEV ? deviceHooks[hook] : inetHooks[hook];
}

/**
 * The function that calls the hooks, by name: it stands right below the netfilter core on the stack. `ip_rcv` calls only the
 * prerouting hooks, and so on (net/ipv4/ip_input.c, ip_output.c, ip_forward.c, their IPv6 twins, net/bridge).
 */
const callers: Readonly<Record<string, string>> = {
  ip_rcv: 'prerouting',
  ip_list_rcv: 'prerouting',
  ip_sublist_rcv: 'prerouting',
  ipv6_rcv: 'prerouting',
  ipv6_list_rcv: 'prerouting',
  ip6_sublist_rcv: 'prerouting',
  ip_local_deliver: 'input',
  ip6_input: 'input',
  ip_forward: 'forward',
  ip6_forward: 'forward',
  __ip_local_out: 'output',
  ip_local_out: 'output',
  __ip6_local_out: 'output',
  ip6_local_out: 'output',
  ip6_xmit: 'output',
  ip_output: 'postrouting',
  ip_mc_output: 'postrouting',
  ip6_output: 'postrouting',
  br_handle_frame: 'prerouting',
  br_pass_frame_up: 'input',
  __br_forward: 'forward',
  br_forward: 'forward',
  __br_deliver: 'output',
  br_forward_finish: 'postrouting',
  __netif_receive_skb_core: 'ingress',
};

/** The hook, told from the stack: the innermost function that is known to call one. */
export function hookFromStack(
  stack: readonly string[],
  name: (address: string) => string | undefined,
): string | undefined {
  for (const address of stack) {
    const symbol = name(address);
    const hook = symbol === undefined ? undefined : callers[plainName(symbol)];
    if (hook !== undefined) return hook;
  }
  return undefined;
}

/** A function's name without what the compiler appended to copies and parts of it (`.constprop.0`, `.isra.0`, `.part.0`). */
export function plainName(symbol: string): string {
  return symbol.replace(/\.(constprop|isra|part|cold|llvm)\b.*$/, '');
}
