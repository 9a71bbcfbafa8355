// Owns the one stream of a browser, so that a seventh tab does not hang: a browser opens at most six
// connections to a host over HTTP/1.1. Tabs say hello when they open and goodbye when they close.
import { Session, type News } from "./session";

const session = new Session();

interface Scope {
  onconnect: (event: MessageEvent) => void;
}

(self as unknown as Scope).onconnect = (event) => {
  const port = event.ports[0];
  if (!port) return;
  const leave = session.join((news: News) => port.postMessage(news));
  port.onmessage = (message: MessageEvent<string>) => {
    if (message.data === "goodbye") leave();
    if (message.data === "again") void session.begin();
  };
  port.start();
};
