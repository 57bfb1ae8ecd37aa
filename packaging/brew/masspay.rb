# A Homebrew formula that builds masspay from source, for trying and developing on macOS and Linux;
# it sets up no service: payouts belong on a server. NOT TRIED: there was no Homebrew where it was
# written. A release puts in its address and the SHA-256 of its source.
class Masspay < Formula
  desc "Mass payouts from a CSV file, each row once, with an answer for every row"
  homepage "https://masspay.dev"
  url "https://masspay.dev/releases/masspay-VERSION-source.tar.gz"
  sha256 "SHA256"
  license "Apache-2.0"

  depends_on "go" => :build

  def install
    ldflags = "-X main.version=#{version}"
    system "go", "build", "-trimpath", *std_go_args(ldflags:), "./cmd/masspay"
    system bin/"masspay", "man", "man1"
    man1.install Dir["man1/*"]
    generate_completions_from_executable(bin/"masspay", "completion")
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/masspay version")
    assert_match "0 payouts paid twice", shell_output("#{bin}/masspay demo 2>&1")
  end
end
