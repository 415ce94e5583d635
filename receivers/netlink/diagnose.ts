import { denialText } from '../../host/denials.ts';
import { sharedInventory } from '../../host/netns/inventory.ts';
import { isDenied, type ProcRoot } from '../../host/proc-root.ts';
import type { Finding } from '../../pipeline/component.ts';
import { withNetns } from './enter.ts';

/** Which network namespaces can be entered, for `skoopline doctor`. */
export async function diagnose(root: ProcRoot): Promise<readonly Finding[]> {
  const found = await sharedInventory(root).scanAsync();
  let entered = 0;
  let denied = 0;
  for (const info of found) {
    try {
      if (withNetns(info, () => true)) entered++;
    } catch (error) {
      if (!isDenied(error)) throw error;
      denied++;
    }
  }
  return [
    {
      subject: 'network namespaces',
      status: denied === 0 ? 'ok' : 'partial',
      text: `${entered} of ${entered + denied} can be entered`,
      ...(denied > 0 && { notes: [denialText('namespaces', root)] }),
      data: { entered, denied },
    },
  ];
}
