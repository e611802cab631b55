from graphfew.data.io.download import Bar


def test_the_bar_does_what_pooch_asks_of_it(capsys):
    bar = Bar("archive.zip", show=False)
    bar.total = 2048
    for _ in range(2):
        bar.update(1024)
    bar.reset()
    bar.update(2048)
    bar.close()
    assert capsys.readouterr().out == ""
