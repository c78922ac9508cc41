# Mail::DKIM over a directory of messages, in one process.
#
# perl judge.pl DIRECTORY: reads `records.tsv` (DNS name, TXT record) and every `N.eml` and
# `N.changed.eml`; for each a line: its name and the verdict on each signature, by comma.
use strict;
use warnings;
use Mail::DKIM::Verifier;

my ($directory) = @ARGV;
my %records;
open my $list, '<', "$directory/records.tsv" or die "records.tsv: $!";
while (<$list>) { chomp; my ($name, $record) = split /\t/; $records{$name} = $record }

{
    package Answer;
    sub new { my ($class, $text) = @_; return bless { text => $text }, $class }
    sub type { return 'TXT' }
    sub char_str_list { return $_[0]{text} }
    sub txtdata { return $_[0]{text} }
}

{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub { my ($name) = @_; return Answer->new($records{$name}) };
}

for my $file (sort glob "$directory/*.eml") {
    open my $message, '<:raw', $file or die "$file: $!";
    local $/;
    my $raw = <$message>;
    my $dkim = Mail::DKIM::Verifier->new;
    $dkim->PRINT($raw);
    $dkim->CLOSE;
    my ($name) = $file =~ m{([^/]+)$};
    print "$name ", join(',', map { $_->result } $dkim->signatures), "\n";
}
