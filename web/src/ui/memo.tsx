/** A component that is drawn again only when one of its properties is another. */
import { Component, type ComponentType, type FunctionComponent, h } from "preact";

export function memo<P extends object>(of: FunctionComponent<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const before = this.props as Record<string, unknown>;
      const after = next as Record<string, unknown>;
      return Object.keys(after).some((name) => after[name] !== before[name]);
    }
    override render() {
      return h(of, this.props as P);
    }
  };
}
