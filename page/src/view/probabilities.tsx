// The tokens of an answer, each with how likely it was and what else might have stood there.
import { useSignal } from "@preact/signals";
import type { TokenProbability } from "../talk/conversation";

export function Probabilities({ tokens }: { tokens: TokenProbability[] }) {
  const chosen = useSignal<number | null>(null);
  const token = chosen.value === null ? undefined : tokens[chosen.value];
  return (
    <details class="probabilities">
      <summary>Probabilities of {tokens.length} tokens</summary>
      <div class="tokens">
        {tokens.map((one, index) => (
          <button type="button" key={index} data-doubt={doubt(one.logprob)} aria-pressed={chosen.value === index} title={percent(one.logprob)} onClick={() => (chosen.value = index)}>
            {shown(one.token)}
          </button>
        ))}
      </div>
      {token !== undefined && (
        <table>
          <thead>
            <tr>
              <th scope="col">Token</th>
              <th scope="col">Probability</th>
            </tr>
          </thead>
          <tbody>
            {alternatives(token).map(({ token: text, logprob }) => (
              <tr key={text} data-chosen={text === token.token}>
                <td>
                  <code>{shown(text)}</code>
                </td>
                <td>{percent(logprob)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </details>
  );
}

function alternatives(token: TokenProbability): { token: string; logprob: number }[] {
  return token.top.some(({ token: text }) => text === token.token) ? token.top : [token, ...token.top];
}

/** From 0, sure, to 3. */
function doubt(logprob: number): number {
  const probability = Math.exp(logprob);
  return probability > 0.9 ? 0 : probability > 0.6 ? 1 : probability > 0.3 ? 2 : 3;
}

function percent(logprob: number): string {
  const value = Math.exp(logprob) * 100;
  return value >= 99.995 ? "100 %" : value < 0.01 ? "under 0.01 %" : `${value.toFixed(2)} %`;
}

function shown(token: string): string {
  return token.replace(/\n/g, "⏎").replace(/ /g, "\u00b7") || "(nothing)";
}
