// The page: `useChat` as people use it, at its default addresses. The chat is the one of the query,
// `?chat=NAME`, so that every tab with this address shows the same one.
import { useChat } from '@ai-sdk/react';
import { useEffect } from 'react';
import { createRoot } from 'react-dom/client';

const chat = new URLSearchParams(location.search).get('chat') ?? 'first';

function Conversation({ known }) {
  const { messages, sendMessage, status, error, resumeStream, stop } =
    useChat({ id: chat, messages: known, resume: true });
  useEffect(() => {
    // The server is gone for a while; what it has got to by then is shown when it is back.
    if (!(error instanceof TypeError)) return;
    const timer = setTimeout(() => resumeStream(), 500);
    return () => clearTimeout(timer);
  }, [error]);
  const submit = event => {
    event.preventDefault();
    sendMessage({ text: event.target.elements.question.value });
    event.target.reset();
  };
  const end = () => {
    stop();
    fetch(`/api/chat/${encodeURIComponent(chat)}/stop`, { method: 'POST' });
  };
  const text = message => message.parts.map(part => part.text ?? '').join('');
  return <>
    {messages.map(message =>
      <p key={message.id} className={message.role}>{text(message)}</p>)}
    <form onSubmit={submit}>
      <input name="question" placeholder="Ask something" autoComplete="off" autoFocus />
      <button id="ask">Ask</button>
      <button id="stop" type="button" onClick={end}>Stop</button>
    </form>
    <p id="status">{status}{error && `: ${error.message}`}</p>
  </>;
}

const known = await (await fetch(`/api/chat/${encodeURIComponent(chat)}`)).json();
createRoot(document.getElementById('page')).render(<Conversation known={known} />);
