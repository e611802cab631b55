from graphfew.data.io.download import DownloadBar


def test_the_bar_has_the_interface_of_pooch(capsys):
    bar = DownloadBar("archive.zip", show=False)
    bar.total = 2048
    for _ in range(2):
        bar.update(1024)
    bar.reset()
    bar.update(2048)
    bar.close()
    assert capsys.readouterr().out == ""
