/** The width that an element has on the page, as it changes. */
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

export function useWidth(host: RefObject<HTMLElement | null>, first: number): number {
  const [width, setWidth] = useState(first);
  useEffect(() => {
    const observer = new ResizeObserver(() => setWidth(host.current?.clientWidth || first));
    observer.observe(host.current!);
    return () => observer.disconnect();
  }, []);
  return width;
}
