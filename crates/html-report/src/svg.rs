//! A backend of plotters that writes SVG for a page: colours are classes of the style
//! sheet, so that one drawing serves light and dark, and marks can be named.

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use maud::{Markup, PreEscaped, Render, html};
use plotters::{
    coord::Shift,
    prelude::{DrawingArea, IntoDrawingArea},
};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    text_anchor::{HPos, VPos},
};

use crate::palette::Ink;

/// Nothing can go wrong when a string is written.
pub type Drawn<T = ()> = Result<T, plotters::drawing::DrawingAreaErrorKind<Infallible>>;

/// The area of a whole drawing.
pub type Area = DrawingArea<Canvas, Shift>;

/// A drawing. Its clones are the same drawing.
#[derive(Clone)]
pub struct Canvas {
    size: (u32, u32),
    body: Rc<RefCell<String>>,
}

impl Canvas {
    /// Makes a drawing of this size in CSS pixels.
    ///
    /// `title` names it for readers who do not see it, and `desc` has its content in
    /// words. `id` is unique in the page.
    pub fn draw(
        size: (u32, u32),
        id: &str,
        title: &str,
        desc: &str,
        draw: impl FnOnce(&Self, &Area) -> Drawn,
    ) -> Markup {
        let body = Self::body(size, draw);
        let (width, height) = size;
        let (title_id, desc_id) = (format!("{id}-title"), format!("{id}-desc"));
        html! {
            svg viewBox=(format!("0 0 {width} {height}"))
                width=(width) height=(height) role="img"
                aria-labelledby=(format!("{title_id} {desc_id}"))
            {
                title id=(title_id) { (title) }
                desc id=(desc_id) { (desc) }
                (body)
            }
        }
    }

    /// Makes a drawing that says no more than the words beside it.
    pub fn sketch(size: (u32, u32), draw: impl FnOnce(&Self, &Area) -> Drawn) -> Markup {
        let body = Self::body(size, draw);
        let (width, height) = size;
        html! {
            svg width=(width) height=(height) aria-hidden="true" { (body) }
        }
    }

    fn body(size: (u32, u32), draw: impl FnOnce(&Self, &Area) -> Drawn) -> PreEscaped<String> {
        let canvas = Self {
            size,
            body: Rc::default(),
        };
        let area = canvas.clone().into_drawing_area();
        // The only other error is that of a drawing that is drawn to by two at a time.
        draw(&canvas, &area).expect("a string takes every shape");
        PreEscaped(canvas.body.take())
    }

    /// Draws marks as a group with a class, and with words that show when it is pointed at.
    pub fn group<T>(&self, class: &str, words: &str, draw: impl FnOnce() -> Drawn<T>) -> Drawn<T> {
        let class = html! { (class) }.into_string();
        self.write(PreEscaped(format!("<g class=\"{class}\">")));
        if !words.is_empty() {
            self.write(html! { title { (words) } });
        }
        let drawn = draw();
        self.write(PreEscaped("</g>"));
        drawn
    }

    fn write(&self, shape: impl Render) {
        shape.render_to(&mut self.body.borrow_mut());
    }
}

/// The classes and the opacity of a shape; none if it cannot be seen.
struct Look {
    class: String,
    opacity: Option<f64>,
    width: Option<u32>,
}

impl Look {
    fn of(style: &impl BackendStyle, fill: bool) -> Option<Self> {
        let BackendColor { alpha, rgb } = style.color();
        let ink = Ink::of_key(rgb);
        (alpha > 0.0).then(|| Self {
            class: match fill {
                true => format!("f-{ink}"),
                false => format!("n s-{ink}"),
            },
            opacity: (alpha < 1.0).then_some(alpha),
            width: (!fill && style.stroke_width() != 1).then(|| style.stroke_width()),
        })
    }
}

fn points(path: impl IntoIterator<Item = BackendCoord>) -> String {
    let points: Vec<_> = path.into_iter().map(|(x, y)| format!("{x},{y}")).collect();
    points.join(" ")
}

type Done = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Done {
        Ok(())
    }

    fn present(&mut self) -> Done {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Done {
        self.draw_rect(point, (point.0 + 1, point.1 + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Done {
        if let Some(look) = Look::of(style, false) {
            self.write(html! {
                line class=(look.class) stroke-opacity=[look.opacity] stroke-width=[look.width]
                    x1=(from.0) y1=(from.1) x2=(to.0) y2=(to.1) {}
            });
        }
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Done {
        if let Some(look) = Look::of(style, fill) {
            let ((x, y), (right, bottom)) = (upper_left, bottom_right);
            self.write(html! {
                rect class=(look.class) opacity=[look.opacity] stroke-width=[look.width]
                    x=(x) y=(y) width=((right - x).max(0)) height=((bottom - y).max(0)) {}
            });
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        if let Some(look) = Look::of(style, false) {
            self.write(html! {
                polyline class=(look.class) stroke-opacity=[look.opacity] stroke-width=[look.width]
                    points=(points(path)) {}
            });
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Done {
        if let Some(look) = Look::of(style, fill) {
            self.write(html! {
                circle class=(look.class) opacity=[look.opacity] stroke-width=[look.width]
                    cx=(x) cy=(y) r=(radius) {}
            });
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        if let Some(look) = Look::of(style, true) {
            self.write(html! {
                polygon class=(look.class) opacity=[look.opacity] points=(points(path)) {}
            });
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Done {
        let anchor = match style.anchor().h_pos {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        let down = match style.anchor().v_pos {
            VPos::Top => "0.76em",
            VPos::Center => "0.35em",
            VPos::Bottom => "-0.2em",
        };
        let ink = Ink::of_key(style.color().rgb);
        self.write(html! {
            text class=(format!("f-{ink}")) x=(x) y=(y) dy=(down) text-anchor=(anchor)
                font-size=(style.size()) { (text) }
        });
        Ok(())
    }
}
