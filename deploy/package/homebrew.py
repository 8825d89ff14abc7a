"""The formula for Homebrew: where the archives of a release lie, and what they hash to."""

import hashlib

import product as words

BLOCKS = {"x86_64-unknown-linux-gnu": "on_intel", "aarch64-unknown-linux-gnu": "on_arm"}


def make(version, archives, address):
    """(name, bytes); `archives` is {target: (name, bytes)}."""
    blocks = "".join(block(target, *archives[target], address) for target in sorted(archives, reverse=True))
    formula = f'''class Gptoss < Formula
  desc "{words.SUMMARY}"
  homepage "{address}"
  version "{version}"
  license "{words.LICENSE}"

  on_linux do
{blocks}  end

  def install
    bin.install "gptoss"
    man1.install Dir["man/man1/*.1"]
    bash_completion.install "completions/gptoss.bash" => "gptoss"
    zsh_completion.install "completions/_gptoss"
    fish_completion.install "completions/gptoss.fish"
  end

  service do
    run [opt_bin/"gptoss", "serve", "--state-dir", var/"gptoss"]
    keep_alive true
  end

  test do
    assert_equal "85", shell_output("#{{bin}}/gptoss run 'What is 27 + 58?'").strip
  end
end
'''
    return f"{words.NAME}.rb", formula.encode()


def block(target, name, data, address):
    digest = hashlib.sha256(data).hexdigest()
    return f'    {BLOCKS[target]} do\n      url "{address}/{name}"\n      sha256 "{digest}"\n    end\n'
